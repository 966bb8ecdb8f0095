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
            let packed = pack_dense(&weight, &bias, inputs, size);
            let layer = PackedLayer::new(&packed, outputs, filter, activation);
            convolve_dense(View::whole(&input, map), layer, &mut output);
            let expected = plain(&input, map, (&weight, &bias), filter, 1, activation);
            assert_close(&output, &expected, &format!("{map:?} {filter:?} {activation:?}"));
        }
    }
}

#[test]
fn chains_equal_their_layers_one_by_one() {
    let cases = [
        // batch, rows, columns, inputs, channels, outputs, stride
        (1, 5, 7, 8, 16, 33, 1),
        (3, 6, 9, 5, 20, 16, 2),
        (2, 1, 1, 3, 3, 1, 1),
        (1, 3, 40, 24, 300, 24, 1),
        (2, 50, 30, 16, 12, 20, 2),
        (2, 31, 64, 4, 72, 20, 1),
        (2, 12, 4, 6, 40, 7, 1),
        (1, 7, 13, 33, 33, 5, 2),
    ];
    for (batch, rows, columns, inputs, channels, outputs, stride) in cases {
        let map = Map { batch, rows, columns, channels: inputs };
        let (filter, pixel) = (Filter::same(3, stride), Filter::same(1, 1));
        let input = values(map.len(), 1);
        let weights = [inputs * channels, channels * 9, channels * outputs];
        let weights = [0, 1, 2].map(|nth| values(weights[nth], 2 + nth as u64));
        let biases = [channels, channels, outputs].map(|n| values(n, 5));
        let packed = [
            pack_dense(&weights[0], &biases[0], inputs, 1),
            pack_depthwise(&weights[1], &biases[1], 3),
            pack_dense(&weights[2], &biases[2], channels, 1),
        ];
        let layers = [
            (pixel, 1, Activation::Relu6, channels),
            (filter, channels, Activation::Relu, channels),
            (pixel, 1, Activation::Silu, outputs),
        ];
        let links = [0, 1, 2].map(|nth| {
            let (filter, _, activation, outputs) = layers[nth];
            PackedLayer::new(&packed[nth], outputs, filter, activation)
        });
        let mut maps = vec![(input, map)];
        for (nth, (filter, groups, activation, outputs)) in layers.into_iter().enumerate() {
            let (input, map) = &maps[nth];
            let from = (weights[nth].as_slice(), biases[nth].as_slice());
            let expected = plain(input, *map, from, filter, groups, activation);
            maps.push((expected, filter.output(*map, outputs)));
        }
        for (first, last) in [(0, 3), (1, 3), (0, 2), (1, 2)] {
            let ((input, map), expected) = (&maps[first], &maps[last].0);
            let mut output = vec![f32::NAN; expected.len()];
            let around = [(first == 0).then_some(links[0]), (last == 3).then_some(links[2])];
            convolve_chain(View::whole(input, *map), around, links[1], &mut output);
            assert_close(&output, expected, &format!("{map:?}: layers {first} to {last}"));
        }
    }
}

#[test]
fn activations_hold_over_their_whole_range() {
    let inputs: Vec<f32> = (-2000..=2000).map(|nth| nth as f32 / 10.0).collect();
    for activation in ALL {
        let map = Map { batch: 1, rows: 1, columns: inputs.len(), channels: 1 };
        let mut output = vec![f32::NAN; inputs.len()];
        let packed = pack_dense(&[1.0], &[0.0], 1, 1);
        let layer = PackedLayer::new(&packed, 1, Filter::same(1, 1), activation);
        convolve_dense(View::whole(&inputs, map), layer, &mut output);
        let expected: Vec<f32> =
            inputs.iter().map(|x| plain_activation(activation, f64::from(*x)) as f32).collect();
        assert_close(&output, &expected, &format!("{activation:?}"));
    }
}

#[test]
fn a_picture_does_not_depend_on_its_batch() {
    let map = Map { batch: 3, rows: 7, columns: 5, channels: 24 };
    let (input, weight) = (values(map.len(), 7), values(40 * 24, 8));
    let packed = pack_dense(&weight, &values(40, 9), 24, 1);
    let layer = PackedLayer::new(&packed, 40, Filter::same(1, 1), Activation::Silu);
    let run = |input: &[f32], map: Map| {
        let output_map = Map { channels: 40, ..map };
        let mut output = vec![0.0; output_map.len()];
        convolve_dense(View::whole(input, map), layer, &mut output);
        output
    };
    let together = run(&input, map);
    let single = Map { batch: 1, ..map };
    for nth in 0..map.batch {
        let alone = run(&input[nth * single.len()..][..single.len()], single);
        assert_eq!(alone, together[nth * alone.len()..][..alone.len()]);
    }
}
