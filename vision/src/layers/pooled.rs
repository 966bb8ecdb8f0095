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

#[cfg(test)]
mod tests {
    use std::thread;

    use burn::tensor::{DType, Device, Tensor, TensorData};

    use super::*;
    use crate::kernels::buffer;

    fn tensor(values: Vec<f32>) -> Tensor<1> {
        let shape = [values.len()];
        let data = TensorData::from_bytes(pooled(values), shape, DType::F32);
        Tensor::from_data(data, &Device::flex())
    }

    fn values(tensor: Tensor<1>) -> Vec<f32> {
        tensor.into_data().try_into_vec().unwrap()
    }

    #[test]
    fn the_last_tensor_returns_the_memory() {
        let first = buffer(1000);
        let place = first.as_ptr();
        let tensor = tensor(first);
        let other = tensor.clone();
        drop(tensor);
        let second = buffer(1000);
        assert_ne!(second.as_ptr(), place, "another tensor has it");
        drop(other);
        let third = buffer(1000);
        assert_eq!(third.as_ptr(), place);
    }

    #[test]
    fn a_write_does_not_change_other_tensors() {
        let first = tensor(vec![1.0, 2.0]);
        let second = first.clone() * 3.0;
        assert_eq!((values(first), values(second)), (vec![1.0, 2.0], vec![3.0, 6.0]));
        let in_place = tensor(vec![1.0, 2.0]) * 3.0;
        assert_eq!(values(in_place), [3.0, 6.0]);
    }

    #[test]
    fn another_thread_may_drop_a_tensor() {
        let tensor = tensor(vec![1.0; 1000]);
        let sum = thread::spawn(move || tensor.sum().into_scalar::<f32>());
        assert_eq!(sum.join().unwrap(), 1000.0);
    }
}
