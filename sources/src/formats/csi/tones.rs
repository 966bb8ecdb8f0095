//! The subcarriers of a frame.
//!
//! Source: IEEE 802.11-2020 clauses 17, 19 and 21, IEEE 802.11ax-2021 clause 27: the occupied tones of
//! each format and bandwidth.

/// The format of a transmission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phy {
    /// Subcarriers of 312.5 kHz: 802.11a to ac.
    Wide,
    /// Subcarriers of 78.125 kHz: 802.11ax and later.
    Narrow,
}

/// Returns the subcarriers of `n_tones` tones, lowest first. They are numbered from 0 if no format has that
/// many.
pub(crate) fn occupied(phy: Phy, bandwidth_mhz: u16, n_tones: usize) -> Vec<i16> {
    let halves: &[(i16, i16)] = match (phy, bandwidth_mhz, n_tones) {
        (_, _, 52) => &[(1, 26)],
        (_, _, 56) => &[(1, 28)],
        (_, _, 114) => &[(2, 58)],
        (_, _, 242) => &[(2, 122)],
        (Phy::Wide, _, 484) => &[(6, 126), (130, 250)],
        (Phy::Narrow, _, 484) => &[(3, 244)],
        (_, _, 996) => &[(3, 500)],
        (_, _, 1992) => &[(12, 509), (515, 1012)],
        _ => return (0..=i16::MAX).take(n_tones).collect(),
    };
    let above = halves.iter().flat_map(|(first, last)| *first..=*last);
    let below = above.clone().rev().map(|tone| -tone);
    below.chain(above).collect()
}

/// Returns the subcarriers of a Fourier transform of `n_bins`, zero first.
pub(crate) fn transform(n_bins: u16) -> Vec<i16> {
    let half = (n_bins / 2).cast_signed();
    (0..half).chain(-half..0).collect()
}

/// Returns the subcarriers of the 30 groups of an Intel 5300 (IEEE 802.11n-2009, grouping of 2 and of 4).
pub(crate) fn groups(bandwidth_mhz: u16) -> Vec<i16> {
    if bandwidth_mhz == 40 {
        return (-58..=58).step_by(4).collect();
    }
    let below = (-28..=-2).step_by(2).chain([-1]);
    below.chain((1..=27).step_by(2)).chain([28]).collect()
}

/// Returns the centre of a channel in MHz, by its number; 0 for an unknown number.
pub(crate) fn centre_mhz(channel: u16) -> u16 {
    match channel {
        1..=13 => 2407 + 5 * channel,
        14 => 2484,
        32..=177 => 5000 + 5 * channel,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_have_their_tones() {
        for (phy, bandwidth_mhz, n_tones, first, last) in [
            (Phy::Wide, 20, 52, -26, 26),
            (Phy::Wide, 20, 56, -28, 28),
            (Phy::Wide, 40, 114, -58, 58),
            (Phy::Wide, 80, 242, -122, 122),
            (Phy::Wide, 160, 484, -250, 250),
            (Phy::Narrow, 20, 242, -122, 122),
            (Phy::Narrow, 40, 484, -244, 244),
            (Phy::Narrow, 80, 996, -500, 500),
            (Phy::Narrow, 160, 1992, -1012, 1012),
            (Phy::Wide, 20, 3, 0, 2),
        ] {
            let tones = occupied(phy, bandwidth_mhz, n_tones);
            assert_eq!(tones.len(), n_tones, "{bandwidth_mhz} MHz");
            assert_eq!((tones[0], tones[n_tones - 1]), (first, last), "{bandwidth_mhz} MHz");
            assert!(tones.is_sorted(), "{bandwidth_mhz} MHz");
        }
        assert_eq!(transform(64)[31..33], [31, -32]);
        for bandwidth_mhz in [20, 40] {
            assert_eq!(groups(bandwidth_mhz).len(), 30);
        }
    }

    #[test]
    fn channels_have_their_centres() {
        for (channel, expected) in [(1, 2412), (13, 2472), (14, 2484), (42, 5210), (15, 0)] {
            assert_eq!(centre_mhz(channel), expected);
        }
    }
}
