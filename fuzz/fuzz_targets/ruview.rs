#![no_main]

use libfuzzer_sys::fuzz_target;
use sources::CsiFormat;

fuzz_target!(|bytes: &[u8]| fuzz::decode(CsiFormat::Ruview, bytes));
