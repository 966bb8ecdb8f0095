//! Memory of a tensor that returns to the pool of buffers.

#![expect(unsafe_code, reason = "burn's interface for external memory")]

use std::mem::{self, MaybeUninit};

use burn::tensor::Bytes;
use burn_std::{AccessError, AccessPolicy, AllocationController, AllocationProperty};

use crate::kernels::recycle;

/// Returns the values as a tensor's memory, which returns to the pool when the last tensor that shares it is dropped.
pub(super) fn pooled(values: Vec<f32>) -> Bytes {
    let len = size_of_val(values.as_slice());
    // SAFETY: the memory has this many bytes, all of them initialised, and a `Vec<f32>` may move between threads.
    unsafe { Bytes::from_controller(Box::new(Pooled(values)), len) }
}

struct Pooled(Vec<f32>);

impl Drop for Pooled {
    fn drop(&mut self) {
        recycle(mem::take(&mut self.0));
    }
}

impl AllocationController for Pooled {
    fn alloc_align(&self) -> usize {
        align_of::<f32>()
    }

    fn property(&self) -> AllocationProperty {
        AllocationProperty::Other
    }

    unsafe fn memory_mut(
        &mut self,
        _: AccessPolicy,
    ) -> Result<&mut [MaybeUninit<u8>], AccessError> {
        let bytes: *mut [u8] = bytemuck::cast_slice_mut(&mut self.0);
        // SAFETY: `u8` and `MaybeUninit<u8>` have the same layout, and the caller writes initialised ones only.
        Ok(unsafe { &mut *(bytes as *mut [MaybeUninit<u8>]) })
    }

    fn memory(&self, _: AccessPolicy) -> Result<&[MaybeUninit<u8>], AccessError> {
        let bytes: *const [u8] = bytemuck::cast_slice(&self.0);
        // SAFETY: `u8` and `MaybeUninit<u8>` have the same layout.
        Ok(unsafe { &*(bytes as *const [MaybeUninit<u8>]) })
    }
}
