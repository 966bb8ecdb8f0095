//! Places at which tests end a run, to show that the next run continues as if there had been no failure.
//!
//! `FRESNEL_FAIL_POINT=PLACE/COMPONENT:N` aborts the process when it passes the place for the N-th time,
//! like a power failure. At a place that begins with "panic" it panics. Fail points work only in builds
//! with assertions.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// The place that is to fail, and the number of the pass at which it fails.
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

/// Passes a place of a component; the process ends there if it is the fail point.
pub(crate) fn pass(place: &str, component: &str) {
    pass_each(place, || [component]);
}

/// Passes a place once for each component. Calls `components` only if the place is to fail.
pub(crate) fn pass_each<'a, I: IntoIterator<Item = &'a str>>(
    place: &str,
    components: impl FnOnce() -> I,
) {
    if !cfg!(debug_assertions) {
        return;
    }
    let Some(point) = FAIL_POINT.as_ref().filter(|point| point.place == place) else { return };
    for _ in components().into_iter().filter(|component| point.component == *component) {
        if PASSES.fetch_add(1, Ordering::Relaxed) + 1 == point.pass {
            assert!(!place.starts_with("panic"), "the fail point {place:?} was passed");
            std::process::abort();
        }
    }
}
