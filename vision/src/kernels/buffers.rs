//! Memory of feature maps, which is used again.
//!
//! A network asks for the same sizes for each picture. Memory from the system would have to be cleared each time, and
//! would be far from the processor.

use std::cell::RefCell;

/// Buffers that a thread keeps.
const MAX_BUFFERS: usize = 64;
/// Values of all buffers that a thread keeps: 32 MiB.
const MAX_VALUES: usize = 1 << 23;

thread_local! {
    static FREE: RefCell<Vec<Vec<f32>>> = const { RefCell::new(Vec::new()) };
}

/// Returns `n` values, which are any numbers.
pub fn buffer(n: usize) -> Vec<f32> {
    let mut buffer = FREE.with_borrow_mut(|free| take(free, n)).unwrap_or_default();
    if buffer.capacity() < n {
        // Growing would copy what nobody needs.
        return vec![0.0; n];
    }
    buffer.resize(n, 0.0);
    buffer
}

/// Takes the smallest buffer with room for `n` values, the last one of several, unless it is much larger.
fn take(free: &mut Vec<Vec<f32>>, n: usize) -> Option<Vec<f32>> {
    let fits = |buffer: &Vec<f32>| (n..=2 * n).contains(&buffer.capacity());
    let fitting = free.iter().enumerate().rev().filter(|(_, buffer)| fits(buffer));
    let (nth, _) = fitting.min_by_key(|(_, buffer)| buffer.capacity())?;
    Some(free.remove(nth))
}

/// Keeps memory for [`buffer`]; the oldest is freed if it is too much.
pub fn recycle(buffer: Vec<f32>) {
    FREE.with_borrow_mut(|free| {
        free.push(buffer);
        let mut n_values: usize = free.iter().map(Vec::capacity).sum();
        while n_values > MAX_VALUES || free.len() > MAX_BUFFERS {
            n_values -= free.remove(0).capacity();
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_used_again() {
        let first = buffer(1000);
        let place = first.as_ptr();
        recycle(first);
        let smaller = buffer(400);
        assert_ne!(smaller.as_ptr(), place, "much too large");
        let second = buffer(600);
        assert_eq!((second.as_ptr(), second.len()), (place, 600));
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let kept = || FREE.with_borrow(|free| free.iter().map(Vec::capacity).sum::<usize>());
        for _ in 0..100 {
            recycle(Vec::with_capacity(1 << 20));
            assert!(kept() <= MAX_VALUES);
        }
        assert!(kept() >= MAX_VALUES / 2);
        recycle(Vec::with_capacity(MAX_VALUES + 1));
        assert_eq!(kept(), 0);
        for _ in 0..100 {
            recycle(vec![0.0]);
        }
        assert_eq!(FREE.with_borrow(Vec::len), MAX_BUFFERS);
    }
}
