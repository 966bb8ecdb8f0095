//! `NumPy` files: `.npy.gz` and `.npz`, as far as the reference results need them.
//!
//! Source: `NumPy` enhancement proposal 1; PKWARE APPNOTE 6.3, sections 4.3.12 and 4.3.16.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::Path;

use flate2::read::{DeflateDecoder, GzDecoder};

/// An array in C order.
#[derive(Debug)]
pub(crate) struct Array {
    pub(crate) shape: Vec<usize>,
    /// Real numbers; for complex ones, real and imaginary parts in turn.
    pub(crate) values: Vec<f64>,
}

/// Reads a `.npy.gz` file.
pub(crate) fn read_gz(path: &Path) -> Array {
    let mut bytes = Vec::new();
    let file = fs::File::open(path).expect("the reference is there");
    GzDecoder::new(file).read_to_end(&mut bytes).expect("it is gzip");
    parse(&bytes)
}

/// Reads all arrays of a `.npz` file.
pub(crate) fn read_npz(path: &Path) -> BTreeMap<String, Array> {
    let zip = fs::read(path).expect("the reference is there");
    let word = |at: usize| usize::from(u16::from_le_bytes([zip[at], zip[at + 1]]));
    let long = |at: usize| word(at) | word(at + 2) << 16;
    let end = zip.windows(4).rposition(|bytes| bytes == b"PK\x05\x06").expect("it is a zip");
    let (n_entries, mut at) = (word(end + 10), long(end + 16));
    let mut arrays = BTreeMap::new();
    for _ in 0..n_entries {
        let (method, size, name_bytes) = (word(at + 10), long(at + 20), word(at + 28));
        let name = String::from_utf8_lossy(&zip[at + 46..at + 46 + name_bytes]).into_owned();
        let local = long(at + 42);
        let data = local + 30 + word(local + 26) + word(local + 28);
        let packed = &zip[data..data + size];
        let mut bytes = Vec::new();
        if method == 0 {
            bytes.extend(packed);
        } else {
            DeflateDecoder::new(packed).read_to_end(&mut bytes).expect("it is deflated");
        }
        arrays.insert(name.trim_end_matches(".npy").to_owned(), parse(&bytes));
        at += 46 + name_bytes + word(at + 30) + word(at + 32);
    }
    arrays
}

fn parse(bytes: &[u8]) -> Array {
    assert!(bytes.starts_with(b"\x93NUMPY"), "it is npy");
    let long_header = bytes[6] > 1;
    let (starts, n_bytes) = if long_header {
        (12, u32::from_le_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]) as usize)
    } else {
        (10, usize::from(u16::from_le_bytes([bytes[8], bytes[9]])))
    };
    let header = std::str::from_utf8(&bytes[starts..starts + n_bytes]).expect("it is text");
    let field = |name: &str| header.split_once(name).expect("the field is there").1;
    let columns_first = field("'fortran_order':").trim_start().starts_with("True");
    let descr = field("'descr':").split('\'').nth(1).expect("it is quoted");
    let shape = field("'shape':").split_once('(').expect("a tuple").1;
    let shape = shape.split_once(')').expect("a tuple").0.split(',');
    let shape: Vec<usize> = shape.filter_map(|n| n.trim().parse().ok()).collect();
    let values = numbers(descr, &bytes[starts + n_bytes..]);
    let values = if columns_first { rows_first(&shape, &values) } else { values };
    Array { shape, values }
}

/// Converts an array from Fortran order to C order.
fn rows_first(shape: &[usize], values: &[f64]) -> Vec<f64> {
    let n_parts = values.len() / shape.iter().product::<usize>().max(1);
    let n_elements = values.len() / n_parts.max(1);
    let elements = (0..n_elements).flat_map(|nth| {
        let (mut rest, mut at, mut stride) = (nth, 0, n_elements);
        // The last axis runs fastest in C order, and slowest in Fortran order.
        for n in shape.iter().rev() {
            stride /= n;
            at += rest % n * stride;
            rest /= n;
        }
        values[at * n_parts..(at + 1) * n_parts].iter().copied()
    });
    elements.collect()
}

fn numbers(descr: &str, data: &[u8]) -> Vec<f64> {
    fn read<const N: usize>(data: &[u8], number: fn([u8; N]) -> f64) -> Vec<f64> {
        data.as_chunks::<N>().0.iter().map(|bytes| number(*bytes)).collect()
    }
    match descr {
        "<c8" | "<f4" => read(data, |bytes| f32::from_le_bytes(bytes).into()),
        "<c16" | "<f8" => read(data, f64::from_le_bytes),
        "<u4" => read(data, |bytes| u32::from_le_bytes(bytes).into()),
        "|i1" | "|b1" => data.iter().map(|byte| f64::from(byte.cast_signed())).collect(),
        text if text.starts_with("<U") => Vec::new(),
        "<i8" => read(data, |bytes| i64::from_le_bytes(bytes) as f64),
        _ => panic!("no reference has {descr}"),
    }
}
