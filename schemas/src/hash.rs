//! A hash that is the same on every machine, in every process and in every version.

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0100_0000_01b3;

/// Hashes texts (FNV-1a), for routes by key and derived ids.
pub fn stable_hash(parts: &[&str]) -> u64 {
    parts.iter().fold(FNV_OFFSET, |hash, part| {
        // The length distinguishes "ab", "c" from "a", "bc".
        fnv(fnv(hash, &(part.len() as u64).to_le_bytes()), part.as_bytes())
    })
}

/// Hashes bytes (FNV-1a).
pub fn stable_hash_bytes(bytes: &[u8]) -> u64 {
    fnv(FNV_OFFSET, bytes)
}

fn fnv(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(FNV_PRIME))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_parts_apart() {
        assert_ne!(stable_hash(&["ab", "c"]), stable_hash(&["a", "bc"]));
        assert_eq!(stable_hash(&["ab", "c"]), stable_hash(&["ab", "c"]));
    }
}
