//! The subcarriers of the values in a chip's buffer.
//!
//! Source: ESP-IDF Programming Guide, "Wi-Fi Channel State Information", the tables of each chip.

/// The position of the secondary channel of a 40 MHz transmission.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Secondary {
    #[default]
    None,
    Above,
    Below,
}

/// Groups of chips with the same buffer layout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Chips {
    /// ESP32, S2, S3 and C3: the legacy training field, then one or two HT fields.
    #[default]
    Legacy,
    /// C5 and C6: one field, or two of the same kind.
    Recent,
}

/// Returns the subcarrier of each value. A length that only one group of chips has overrides `chips`. Values
/// of an unknown length are numbered from 0.
pub(crate) fn subcarriers(n_values: usize, secondary: Secondary, chips: Chips) -> Vec<i16> {
    use Secondary::{Above, Below, None};
    let around = |above: i16, below: i16| (0..above).chain(-below..0);
    let twice = |above: i16| around(above, above - 1).chain(around(above, above - 1)).collect();
    let recent = match (n_values, chips) {
        (53, _) => around(27, 26).collect(),
        (57, _) => around(29, 28).collect(),
        (64, Chips::Recent) => around(32, 32).collect(),
        (114, _) => twice(29),
        (117, _) => around(59, 58).collect(),
        (128, Chips::Recent) => around(64, 64).collect(),
        (234, _) => twice(59),
        (245, _) => around(123, 122).collect(),
        _ => Vec::new(),
    };
    if !recent.is_empty() {
        return recent;
    }
    let legacy: Vec<i16> = match secondary {
        None => around(32, 32).collect(),
        Below => (0..64).collect(),
        Above => (-64..0).collect(),
    };
    let wide = || around(64, 64).collect::<Vec<_>>();
    // With space-time coding, the buffer omits edges of the HT fields.
    let parts: Vec<Vec<i16>> = match (n_values, secondary) {
        (64, _) => vec![legacy],
        (128, _) => vec![legacy.clone(), legacy],
        (192, None) => vec![legacy.clone(), legacy.clone(), legacy],
        (192, _) => vec![legacy, wide()],
        (190, Below) => vec![legacy, (0..63).collect(), (0..63).collect()],
        (188, Above) => vec![legacy, (-62..0).collect(), (-62..0).collect()],
        (306, Above | Below) => {
            vec![legacy, around(61, 60).collect(), around(61, 60).collect()]
        }
        _ => vec![(0..=i16::MAX).take(n_values).collect()],
    };
    parts.concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_follow_the_tables() {
        use Chips::{Legacy, Recent};
        for (n_values, secondary, chips, first, last) in [
            (64, Secondary::None, Legacy, 0, -1),
            (64, Secondary::Below, Legacy, 0, 63),
            (64, Secondary::Above, Legacy, -64, -1),
            (128, Secondary::None, Legacy, 0, -1),
            (128, Secondary::Below, Legacy, 0, 63),
            (188, Secondary::Above, Legacy, -64, -1),
            (190, Secondary::Below, Legacy, 0, 62),
            (192, Secondary::None, Legacy, 0, -1),
            (192, Secondary::Below, Legacy, 0, -1),
            (306, Secondary::Above, Legacy, -64, -1),
            (52, Secondary::None, Legacy, 0, 51),
            (53, Secondary::None, Legacy, 0, -1),
            (53, Secondary::None, Recent, 0, -1),
            (57, Secondary::None, Recent, 0, -1),
            (114, Secondary::None, Recent, 0, -1),
            (117, Secondary::None, Recent, 0, -1),
            (128, Secondary::None, Recent, 0, -1),
            (234, Secondary::None, Recent, 0, -1),
            (245, Secondary::None, Recent, 0, -1),
        ] {
            let subcarriers = subcarriers(n_values, secondary, chips);
            assert_eq!(subcarriers.len(), n_values, "{chips:?} {secondary:?}");
            let ends = (subcarriers[0], subcarriers[n_values - 1]);
            assert_eq!(ends, (first, last), "{n_values}, {chips:?} {secondary:?}");
        }
        assert_eq!(subcarriers(128, Secondary::None, Recent)[63..65], [63, -64]);
    }
}
