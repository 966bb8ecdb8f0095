//! A cache of layouts: in many captures a few layouts alternate.

use std::sync::Arc;

use schemas::CsiLayout;

/// The most cached layouts, more than alternate in any capture. A full cache is cleared.
const MAX_LAYOUTS: usize = 32;

/// Layouts by key.
#[derive(Debug)]
pub(crate) struct Layouts<K> {
    known: Vec<(K, Arc<CsiLayout>)>,
    /// Index of the latest returned layout.
    last: usize,
}

impl<K> Default for Layouts<K> {
    fn default() -> Self {
        Self { known: Vec::new(), last: 0 }
    }
}

impl<K: Clone + PartialEq> Layouts<K> {
    /// Returns the layout of a key; makes it if it is new.
    pub(crate) fn get(&mut self, key: K, make: impl FnOnce(K) -> CsiLayout) -> &Arc<CsiLayout> {
        if self.known.get(self.last).is_none_or(|(known, _)| *known != key) {
            let known = self.known.iter().position(|(known, _)| *known == key);
            self.last = known.unwrap_or_else(|| {
                if self.known.len() >= MAX_LAYOUTS {
                    self.known.clear();
                }
                let layout = Arc::new(make(key.clone()));
                self.known.push((key, layout));
                self.known.len() - 1
            });
        }
        &self.known[self.last].1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn makes_each_layout_once() {
        let mut layouts = Layouts::default();
        let mut n_made = 0;
        for key in [1_u16, 2, 1, 2, 2, 1] {
            let layout = layouts.get(key, |key| {
                n_made += 1;
                CsiLayout { n_rx: key, ..CsiLayout::default() }
            });
            assert_eq!(layout.n_rx, key);
        }
        assert_eq!(n_made, 2);
        for key in 0..1000 {
            layouts.get(key, |_| CsiLayout::default());
        }
        assert!(layouts.known.len() <= MAX_LAYOUTS, "their number has a bound");
    }
}
