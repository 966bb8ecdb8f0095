//! A pool of buffers for feature maps, one per thread.
//!
//! A network needs buffers of the same sizes for each picture. Fresh memory from the system would have to be cleared
//! each time, and would not be in the cache.

use std::cell::RefCell;

/// The largest number of buffers in a pool.
const MAX_BUFFERS: usize = 64;
/// The largest number of values in a pool: 32 MiB.
const MAX_VALUES: usize = 1 << 23;

thread_local! {
    static FREE: RefCell<Vec<Vec<f32>>> = const { RefCell::new(Vec::new()) };
}

/// Returns `n` values from the pool, with arbitrary contents.
pub fn buffer(n: usize) -> Vec<f32> {
    let mut buffer = FREE.with_borrow_mut(|free| take(free, n)).unwrap_or_default();
    if buffer.capacity() < n {
        // Growing a buffer would copy its old contents.
        return vec![0.0; n];
    }
    buffer.resize(n, 0.0);
    buffer
}

/// Removes the smallest buffer with a capacity of `n` to `2 * n` values, the most recent one of several.
fn take(free: &mut Vec<Vec<f32>>, n: usize) -> Option<Vec<f32>> {
    let fits = |buffer: &Vec<f32>| (n..=2 * n).contains(&buffer.capacity());
    let fitting = free.iter().enumerate().rev().filter(|(_, buffer)| fits(buffer));
    let (nth, _) = fitting.min_by_key(|(_, buffer)| buffer.capacity())?;
    Some(free.remove(nth))
}

/// Returns a buffer to the pool. The oldest buffers are freed at the limits; a buffer above them is not kept.
pub fn recycle(buffer: Vec<f32>) {
    if buffer.capacity() > MAX_VALUES {
        return;
    }
    // The pool of a thread that ends is gone, and the buffer is freed.
    let _ = FREE.try_with(|free| {
        let mut free = free.borrow_mut();
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
        let before = kept();
        recycle(Vec::with_capacity(MAX_VALUES + 1));
        assert_eq!(kept(), before);
        for _ in 0..100 {
            recycle(vec![0.0]);
        }
        assert_eq!(FREE.with_borrow(Vec::len), MAX_BUFFERS);
    }
}
