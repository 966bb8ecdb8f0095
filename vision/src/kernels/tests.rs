//! The kernels against a plain loop.

use super::*;

/// Values between -1 and 1 that look random.
fn values(n: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
    };
    (0..n).map(|_| next()).collect()
}

fn plain(
    input: &[f32],
    map: Map,
    (weight, bias): (&[f32], &[f32]),
    filter: Filter,
    groups: usize,
    activation: Activation,
) -> Vec<f32> {
    let output = filter.output(map, bias.len());
    let (inputs, outputs) = (map.channels / groups, output.channels / groups);
    let mut values = Vec::with_capacity(output.len());
    for nth in 0..output.len() {
        let channel = nth % output.channels;
        let pixel = nth / output.channels;
        let (column, row) = (pixel % output.columns, pixel / output.columns % output.rows);
        let picture = pixel / output.columns / output.rows;
        let mut sum = f64::from(bias[channel]);
        for down in 0..filter.size {
            for across in 0..filter.size {
                let y = (row * filter.stride + down).wrapping_sub(filter.padding);
                let x = (column * filter.stride + across).wrapping_sub(filter.padding);
                if y >= map.rows || x >= map.columns {
                    continue;
                }
                for input_nth in 0..inputs {
                    let from = ((picture * map.rows + y) * map.columns + x) * map.channels
                        + channel / outputs * inputs
                        + input_nth;
                    let tap = ((channel * inputs + input_nth) * filter.size + down) * filter.size
                        + across;
                    sum += f64::from(input[from]) * f64::from(weight[tap]);
                }
            }
        }
        values.push(plain_activation(activation, sum) as f32);
    }
    values
}

fn plain_activation(activation: Activation, x: f64) -> f64 {
    match activation {
        Activation::Linear => x,
        Activation::Relu => x.max(0.0),
        Activation::Relu6 => x.clamp(0.0, 6.0),
        Activation::LeakyRelu => x.max(0.1 * x),
        Activation::Silu => x / (1.0 + (-x).exp()),
        Activation::Sigmoid => 1.0 / (1.0 + (-x).exp()),
    }
}

const ALL: [Activation; 6] = [
    Activation::Linear,
    Activation::Relu,
    Activation::Relu6,
    Activation::LeakyRelu,
    Activation::Silu,
    Activation::Sigmoid,
];

fn assert_close(actual: &[f32], expected: &[f32], case: &str) {
    assert_eq!(actual.len(), expected.len(), "{case}");
    for (nth, (actual, expected)) in actual.iter().zip(expected).enumerate() {
        let allowed = 2e-5 * expected.abs().max(1.0);
        assert!((actual - expected).abs() < allowed, "{case}: {nth}: {actual} for {expected}");
    }
}

#[test]
fn dense_convolutions_equal_a_plain_loop() {
    let cases = [
        // rows, columns, inputs, outputs, size, stride
        (5, 7, 16, 40, 1, 1),
        (3, 3, 20, 20, 1, 1),
        (13, 13, 64, 80, 1, 1),
        (1, 1, 3, 1, 1, 1),
        (9, 31, 12, 16, 3, 1),
        (10, 6, 3, 33, 3, 2),
        (8, 8, 5, 17, 1, 2),
        (7, 9, 2, 100, 5, 2),
    ];
    for (nth, (rows, columns, inputs, outputs, size, stride)) in cases.into_iter().enumerate() {
        for batch in [1, 3] {
            let map = Map { batch, rows, columns, channels: inputs };
            let filter = Filter::same(size, stride);
            let activation = ALL[nth % ALL.len()];
            let (input, bias) = (values(map.len(), 1), values(outputs, 2));
            let weight = values(outputs * inputs * size * size, 3);
            let output_map = filter.output(map, outputs);
            let mut output = vec![f32::NAN; output_map.len()];
            let packed = pack_dense(&weight, outputs, inputs, size);
            let padded = pad_to_lanes(&bias);
            let weights = Packed { weight: &packed, bias: &padded };
            convolve_dense((&input, map), weights, filter, activation, (&mut output, output_map));
            let expected = plain(&input, map, (&weight, &bias), filter, 1, activation);
            assert_close(&output, &expected, &format!("{map:?} {filter:?} {activation:?}"));
        }
    }
}

#[test]
fn depthwise_convolutions_equal_a_plain_loop() {
    let cases = [
        // rows, columns, channels, size, stride
        (5, 7, 16, 3, 1),
        (6, 9, 20, 3, 2),
        (1, 1, 3, 3, 1),
        (12, 4, 40, 5, 1),
        (7, 13, 33, 5, 2),
    ];
    for (nth, (rows, columns, channels, size, stride)) in cases.into_iter().enumerate() {
        for batch in [1, 2] {
            let map = Map { batch, rows, columns, channels };
            let filter = Filter::same(size, stride);
            let activation = ALL[nth % ALL.len()];
            let (input, bias) = (values(map.len(), 4), values(channels, 5));
            let weight = values(channels * size * size, 6);
            let output_map = filter.output(map, channels);
            let mut output = vec![f32::NAN; output_map.len()];
            let packed = pack_depthwise(&weight, channels, size);
            let padded = pad_to_lanes(&bias);
            let weights = Packed { weight: &packed, bias: &padded };
            let to = (output.as_mut_slice(), output_map);
            convolve_depthwise((&input, map), weights, filter, activation, to);
            let expected = plain(&input, map, (&weight, &bias), filter, channels, activation);
            assert_close(&output, &expected, &format!("{map:?} {filter:?} {activation:?}"));
        }
    }
}

#[test]
fn activations_hold_over_their_whole_range() {
    let inputs: Vec<f32> = (-2000..=2000).map(|nth| nth as f32 / 10.0).collect();
    for activation in ALL {
        let map = Map { batch: 1, rows: 1, columns: inputs.len(), channels: 1 };
        let mut output = vec![f32::NAN; inputs.len()];
        let (weight, bias) = (pack_dense(&[1.0], 1, 1, 1), pad_to_lanes(&[0.0]));
        let weights = Packed { weight: &weight, bias: &bias };
        let to = (output.as_mut_slice(), map);
        convolve_dense((&inputs, map), weights, Filter::same(1, 1), activation, to);
        let expected: Vec<f32> =
            inputs.iter().map(|x| plain_activation(activation, f64::from(*x)) as f32).collect();
        assert_close(&output, &expected, &format!("{activation:?}"));
    }
}

#[test]
fn a_picture_does_not_depend_on_its_batch() {
    let map = Map { batch: 3, rows: 7, columns: 5, channels: 24 };
    let (input, weight) = (values(map.len(), 7), values(40 * 24, 8));
    let (packed, padded) = (pack_dense(&weight, 40, 24, 1), pad_to_lanes(&values(40, 9)));
    let weights = Packed { weight: &packed, bias: &padded };
    let run = |input: &[f32], map: Map| {
        let output_map = Map { channels: 40, ..map };
        let mut output = vec![0.0; output_map.len()];
        let to = (output.as_mut_slice(), output_map);
        convolve_dense((input, map), weights, Filter::same(1, 1), Activation::Silu, to);
        output
    };
    let together = run(&input, map);
    let single = Map { batch: 1, ..map };
    for nth in 0..map.batch {
        let alone = run(&input[nth * single.len()..][..single.len()], single);
        assert_eq!(alone, together[nth * alone.len()..][..alone.len()]);
    }
}
