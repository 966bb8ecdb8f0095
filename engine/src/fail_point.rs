//! Places where a run can be made to die, to show that the next one goes on as if nothing had been.
//!
//! `FRESNEL_FAIL_POINT=PLACE/COMPONENT:N` ends the process at once when the place is passed for the
//! N-th time, as a power cut would; at a place that begins with "panic" it panics. Only in builds with
//! assertions.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// A place that is to fail, and at which pass.
struct FailPoint {
    place: String,
    component: String,
    pass: u64,
}

static FAIL_POINT: LazyLock<Option<FailPoint>> = LazyLock::new(|| {
    let text = std::env::var("FRESNEL_FAIL_POINT").ok()?;
    let (place, pass) = text.rsplit_once(':')?;
    let (place, component) = place.split_once('/')?;
    let (place, component) = (place.to_owned(), component.to_owned());
    Some(FailPoint { place, component, pass: pass.parse().ok()? })
});
static PASSES: AtomicU64 = AtomicU64::new(0);

/// Passes a place on the way of a component.
pub(crate) fn pass(place: &str, component: &str) {
    if !cfg!(debug_assertions) {
        return;
    }
    let Some(point) = FAIL_POINT.as_ref() else { return };
    if point.place != place || point.component != component {
        return;
    }
    if PASSES.fetch_add(1, Ordering::Relaxed) + 1 == point.pass {
        assert!(!place.starts_with("panic"), "the fail point {place:?} was passed");
        std::process::abort();
    }
}
