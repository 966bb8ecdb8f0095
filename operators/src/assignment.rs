//! The assignment of rows to columns with the least total cost, in O(n3).
//!
//! Source: H. W. Kuhn, "The Hungarian method for the assignment problem", 1955, in the shortest
//! augmenting path form of R. Jonker and A. Volgenant, Computing 38, 1987.

/// Returns the column of each row; None for a row that stays unassigned, because no assignment costs more
/// than `max_cost`.
///
/// # Shapes
///
/// - `costs`: `[n_rows][n_columns]`
pub(super) fn assign(costs: &[Vec<f32>], n_columns: usize, max_cost: f32) -> Vec<Option<usize>> {
    // A square of both, whose added cells cost as much as a missing assignment.
    let n = costs.len() + n_columns;
    let cost = |row: usize, column: usize| {
        let cost = costs.get(row).and_then(|row| row.get(column)).copied();
        cost.filter(|cost| *cost <= max_cost).unwrap_or(max_cost)
    };
    let rows = row_of_each_column(n, cost);
    let mut columns = vec![None; costs.len()];
    for (column, row) in rows.into_iter().enumerate().take(n_columns) {
        if costs.get(row).is_some_and(|row| row[column] <= max_cost) {
            columns[row] = Some(column);
        }
    }
    columns
}

/// Solves the square problem by adding one row at a time along its cheapest path.
fn row_of_each_column(n: usize, cost: impl Fn(usize, usize) -> f32) -> Vec<usize> {
    const NONE: usize = usize::MAX;
    let (mut row_price, mut column_price) = (vec![0.0_f32; n], vec![0.0_f32; n]);
    let mut row_of = vec![NONE; n];
    for new_row in 0..n {
        let (mut slack, mut from) = (vec![f32::INFINITY; n], vec![NONE; n]);
        let mut visited = vec![false; n];
        let (mut row, mut last) = (new_row, NONE);
        let end = loop {
            let mut nearest: Option<usize> = None;
            for column in (0..n).filter(|column| !visited[*column]) {
                let reduced = cost(row, column) - row_price[row] - column_price[column];
                if reduced < slack[column] {
                    (slack[column], from[column]) = (reduced, last);
                }
                if nearest.is_none_or(|nearest| slack[column] < slack[nearest]) {
                    nearest = Some(column);
                }
            }
            let Some(column) = nearest else { return row_of };
            let step = slack[column];
            row_price[new_row] += step;
            for other in 0..n {
                if visited[other] {
                    row_price[row_of[other]] += step;
                    column_price[other] -= step;
                } else {
                    slack[other] -= step;
                }
            }
            visited[column] = true;
            if row_of[column] == NONE {
                break column;
            }
            (row, last) = (row_of[column], column);
        };
        let mut column = end;
        while from[column] != NONE {
            row_of[column] = row_of[from[column]];
            column = from[column];
        }
        row_of[column] = new_row;
    }
    row_of
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The least total cost by exhaustive search; an unassigned row costs `max_cost`.
    fn least(costs: &[Vec<f32>], used: &mut Vec<bool>, max_cost: f32) -> f32 {
        let Some((row, rest)) = costs.split_first() else { return 0.0 };
        let mut best = max_cost + least(rest, used, max_cost);
        for column in 0..used.len() {
            if !used[column] && row[column] <= max_cost {
                used[column] = true;
                best = best.min(row[column] + least(rest, used, max_cost));
                used[column] = false;
            }
        }
        best
    }

    proptest! {
        #[test]
        fn is_the_cheapest(
            n_columns in 0_usize..5,
            cells in prop::collection::vec(prop::collection::vec(0.0_f32..2.0, 5), 0..5),
        ) {
            let costs: Vec<_> = cells.iter().map(|row| row[..n_columns].to_vec()).collect();
            let columns = assign(&costs, n_columns, 1.0);
            let total: f32 = costs.iter().zip(&columns)
                .map(|(row, column)| column.map_or(1.0, |column| row[column])).sum();
            let mut used = vec![false; n_columns];
            prop_assert!((total - least(&costs, &mut used, 1.0)).abs() < 1e-4);
            let mut taken: Vec<_> = columns.iter().flatten().collect();
            taken.sort();
            taken.dedup();
            prop_assert_eq!(taken.len(), columns.iter().flatten().count(), "no column twice");
        }
    }
}
