//! Minimum-cost assignment of rows to columns, split into independent components first.
//!
//! Most pairs of tracks and detections are too far apart to match, so the possible pairs fall into many
//! small connected components. Each component is solved exactly by shortest augmenting paths, in
//! O(n³) of its own size, so that the whole costs little more than one pass over the matrix.
//!
//! Source: R. Jonker and A. Volgenant, "A shortest augmenting path algorithm for dense and sparse linear
//! assignment problems", Computing 38, 1987.

/// Marks a column without a row, and the start of a path.
const NONE: usize = usize::MAX;

/// Returns the column of each row, or `None` for an unassigned row.
///
/// Assigns as many rows as possible and, among those assignments, chooses one with the least total cost.
/// Among equal candidates the lowest index wins, so equal input gives equal output. A cell that is not
/// finite is never assigned, and neither is a cell beyond the end of `costs`.
///
/// # Shapes
///
/// - `costs`: `[rows × columns]`, row-major, in any unit; `f64::INFINITY` where a pair is impossible
/// - result: `[rows]`
pub fn assign(costs: &[f64], rows: usize, columns: usize) -> Vec<Option<usize>> {
    let mut assigned = vec![None; rows];
    let matrix = Matrix { costs, columns };
    let mut new_row = vec![true; rows];
    let mut new_column = vec![true; columns];
    let mut component = Component::default();
    for row in 0..rows {
        if new_row[row] {
            component.collect(row, &matrix, &mut new_row, &mut new_column);
            component.solve(&matrix, &mut assigned);
        }
    }
    assigned
}

struct Matrix<'a> {
    costs: &'a [f64],
    columns: usize,
}

impl Matrix<'_> {
    /// Returns the cost of a possible pair.
    fn cost(&self, row: usize, column: usize) -> Option<f64> {
        self.costs.get(row * self.columns + column).copied().filter(|cost| cost.is_finite())
    }
}

/// Rows and columns that possible pairs connect, each in ascending order.
#[derive(Default)]
struct Component {
    rows: Vec<usize>,
    columns: Vec<usize>,
}

impl Component {
    /// Collects all rows and columns that are reachable from `row` over possible pairs.
    fn collect(
        &mut self,
        row: usize,
        matrix: &Matrix,
        new_row: &mut [bool],
        new_column: &mut [bool],
    ) {
        self.rows.clear();
        self.columns.clear();
        self.rows.push(row);
        new_row[row] = false;
        let (mut n_rows_done, mut n_columns_done) = (0, 0);
        while let Some(&row) = self.rows.get(n_rows_done) {
            extend(&mut self.columns, new_column, |column| matrix.cost(row, column).is_some());
            n_rows_done += 1;
            while let Some(&column) = self.columns.get(n_columns_done) {
                extend(&mut self.rows, new_row, |row| matrix.cost(row, column).is_some());
                n_columns_done += 1;
            }
        }
        self.rows.sort_unstable();
        self.columns.sort_unstable();
    }

    /// Writes the best assignment of the component into `assigned`, `[rows]` of the whole matrix.
    fn solve(&self, matrix: &Matrix, assigned: &mut [Option<usize>]) {
        if let ([row], [column]) = (&self.rows[..], &self.columns[..]) {
            assigned[*row] = Some(*column);
        } else if self.rows.len() <= self.columns.len() {
            let costs = self.costs(matrix);
            for (column, row) in row_of_each_column(&costs, self.rows.len()).into_iter().enumerate()
            {
                self.set(matrix, assigned, row, column);
            }
        } else {
            let costs = transposed(&self.costs(matrix), self.columns.len());
            for (row, column) in
                row_of_each_column(&costs, self.columns.len()).into_iter().enumerate()
            {
                self.set(matrix, assigned, row, column);
            }
        }
    }

    /// Assigns a pair, by its indices within the component, if the pair is possible.
    fn set(&self, matrix: &Matrix, assigned: &mut [Option<usize>], row: usize, column: usize) {
        if let (Some(&row), Some(&column)) = (self.rows.get(row), self.columns.get(column))
            && matrix.cost(row, column).is_some()
        {
            assigned[row] = Some(column);
        }
    }

    /// Returns the costs of the component, `[rows × columns]`, from zero.
    ///
    /// An impossible pair costs more than any assignment of possible pairs, so that the number of possible
    /// pairs counts first.
    fn costs(&self, matrix: &Matrix) -> Vec<f64> {
        let pairs =
            self.rows.iter().flat_map(|row| self.columns.iter().map(move |column| (*row, *column)));
        let costs: Vec<_> = pairs.map(|(row, column)| matrix.cost(row, column)).collect();
        let (least, most) = costs
            .iter()
            .flatten()
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), cost| {
                (cost.min(least), cost.max(most))
            });
        let range = (most - least).max(f64::MIN_POSITIVE);
        let impossible = range * (1 + self.rows.len().min(self.columns.len())) as f64;
        costs.into_iter().map(|cost| cost.map_or(impossible, |cost| cost - least)).collect()
    }
}

/// Appends the new indices that `reaches` accepts, which are then no longer new.
fn extend(indices: &mut Vec<usize>, is_new: &mut [bool], reaches: impl Fn(usize) -> bool) {
    for (index, is_new) in is_new.iter_mut().enumerate() {
        if *is_new && reaches(index) {
            *is_new = false;
            indices.push(index);
        }
    }
}

fn transposed(costs: &[f64], columns: usize) -> Vec<f64> {
    (0..columns).flat_map(|column| costs.iter().skip(column).step_by(columns).copied()).collect()
}

/// Returns the row of each column, or [`NONE`], with each of the `rows` rows on one column.
///
/// # Shapes
///
/// - `costs`: `[rows × columns]`, with at most as many rows as columns
fn row_of_each_column(costs: &[f64], rows: usize) -> Vec<usize> {
    let columns = costs.len() / rows.max(1);
    let mut paths = Paths::new(rows, columns);
    for row in 0..rows {
        let end = paths.shortest(costs, row);
        paths.augment(row, end);
    }
    paths.row_of
}

/// Prices, and the search for the shortest path from a row to a column without a row.
struct Paths {
    row_price: Vec<f64>,
    column_price: Vec<f64>,
    /// The row of each column, or [`NONE`].
    row_of: Vec<usize>,
    /// Length of the shortest path found to each column.
    distance: Vec<f64>,
    /// The column before each column on that path, or [`NONE`] if it comes first.
    previous: Vec<usize>,
    visited: Vec<bool>,
}

impl Paths {
    fn new(rows: usize, columns: usize) -> Self {
        Self {
            row_price: vec![0.0; rows],
            column_price: vec![0.0; columns],
            row_of: vec![NONE; columns],
            distance: vec![f64::INFINITY; columns],
            previous: vec![NONE; columns],
            visited: vec![false; columns],
        }
    }

    /// Finds the shortest path from an unassigned row and returns the column without a row at its end.
    fn shortest(&mut self, costs: &[f64], new_row: usize) -> usize {
        self.distance.fill(f64::INFINITY);
        self.previous.fill(NONE);
        self.visited.fill(false);
        let (mut row, mut last, mut length) = (new_row, NONE, 0.0);
        loop {
            self.relax(costs, row, last, length);
            last = self.nearest();
            length = self.distance[last];
            row = self.row_of[last];
            if row == NONE {
                self.reprice(new_row, length);
                return last;
            }
            self.visited[last] = true;
        }
    }

    /// Shortens the paths to the columns by way of `row`, which a path of `length` over `last` reaches.
    fn relax(&mut self, costs: &[f64], row: usize, last: usize, length: f64) {
        let columns = self.row_of.len();
        let base = length - self.row_price[row];
        for (column, cost) in costs[row * columns..][..columns].iter().enumerate() {
            let distance = base + cost - self.column_price[column];
            if !self.visited[column] && distance < self.distance[column] {
                (self.distance[column], self.previous[column]) = (distance, last);
            }
        }
    }

    /// Returns the nearest column that is not visited yet.
    fn nearest(&self) -> usize {
        let columns = (0..self.row_of.len()).filter(|column| !self.visited[*column]);
        // The first of equals; there is one, since there are at most as many rows as columns.
        columns.min_by(|a, b| self.distance[*a].total_cmp(&self.distance[*b])).unwrap_or(0)
    }

    /// Raises the prices by the slack of the path, so that no reduced cost is negative.
    fn reprice(&mut self, new_row: usize, length: f64) {
        self.row_price[new_row] += length;
        for column in (0..self.row_of.len()).filter(|column| self.visited[*column]) {
            let slack = length - self.distance[column];
            self.row_price[self.row_of[column]] += slack;
            self.column_price[column] -= slack;
        }
    }

    /// Moves each row along the path by one column, which makes room for the new row.
    fn augment(&mut self, new_row: usize, end: usize) {
        let mut column = end;
        while self.previous[column] != NONE {
            self.row_of[column] = self.row_of[self.previous[column]];
            column = self.previous[column];
        }
        self.row_of[column] = new_row;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IMPOSSIBLE: f64 = f64::INFINITY;

    /// The most pairs and their least total cost, by exhaustive search.
    fn best(costs: &[f64], columns: usize, used: &mut Vec<bool>) -> (usize, f64) {
        if costs.is_empty() {
            return (0, 0.0);
        }
        let (row, rest) = costs.split_at(columns);
        let mut found = best(rest, columns, used);
        for column in (0..columns).filter(|column| row[*column].is_finite()) {
            if !std::mem::replace(&mut used[column], true) {
                let (pairs, cost) = best(rest, columns, used);
                let (pairs, cost) = (pairs + 1, cost + row[column]);
                if pairs > found.0 || pairs == found.0 && cost < found.1 {
                    found = (pairs, cost);
                }
                used[column] = false;
            }
        }
        found
    }

    /// Pseudorandom numbers from 0 to 1.
    fn random(seed: &mut u64) -> f64 {
        *seed ^= *seed << 13;
        *seed ^= *seed >> 7;
        *seed ^= *seed << 17;
        (*seed >> 11) as f64 / (1_u64 << 53) as f64
    }

    #[test]
    fn agrees_with_exhaustive_search() {
        let mut seed = 0x9E37_79B9_7F4A_7C15;
        for nth in 0..20_000 {
            let [rows, columns] = [(); 2].map(|()| (random(&mut seed) * 6.0) as usize);
            let (share, scale) = (random(&mut seed), if nth % 2 == 0 { 1.0 } else { 1e9 });
            let mut cell = || {
                let is_possible = random(&mut seed) < share;
                if is_possible { (random(&mut seed) - 0.5) * scale } else { IMPOSSIBLE }
            };
            let costs: Vec<_> = (0..rows * columns).map(|_| cell()).collect();
            let assigned = assign(&costs, rows, columns);
            let mut used: Vec<_> = assigned.iter().flatten().copied().collect();
            let pairs =
                assigned.iter().enumerate().filter_map(|(row, column)| Some((row, (*column)?)));
            let total: f64 = pairs.map(|(row, column)| costs[row * columns + column]).sum();
            let expected = best(&costs, columns.max(1), &mut vec![false; columns]);
            assert_eq!(used.len(), expected.0, "{costs:?}");
            assert!((total - expected.1).abs() < 1e-9 * scale, "{costs:?}");
            used.sort_unstable();
            used.dedup();
            assert_eq!(used.len(), expected.0, "no column twice: {assigned:?}");
        }
    }

    #[test]
    fn follows_the_contract() {
        for (name, costs, columns, expected) in [
            ("no rows", vec![], 2, vec![]),
            ("equal columns", vec![1.0, 1.0], 2, vec![Some(0)]),
            ("equal rows", vec![1.0, 1.0], 1, vec![Some(0), None]),
            ("all equal", vec![1.0; 4], 2, vec![Some(0), Some(1)]),
            (
                "more pairs beat less cost",
                vec![0.0, 9.0, 9.0, IMPOSSIBLE],
                2,
                vec![Some(1), Some(0)],
            ),
            ("the cheaper row wins", vec![2.0, 1.0], 1, vec![None, Some(0)]),
            ("not a number is impossible", vec![f64::NAN, 5.0], 2, vec![Some(1)]),
            (
                "a row without a pair",
                vec![IMPOSSIBLE, IMPOSSIBLE, 3.0, 1.0],
                2,
                vec![None, Some(1)],
            ),
        ] {
            assert_eq!(assign(&costs, expected.len(), columns), expected, "{name}");
        }
    }

    #[test]
    fn has_no_columns_without_columns() {
        assert_eq!(assign(&[], 3, 0), [None; 3]);
    }
}
