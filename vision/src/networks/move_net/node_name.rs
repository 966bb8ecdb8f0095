//! The names of MoveNet's layers in the published TensorFlow.js models.

use super::network::STAGES;

/// Returns the end of a layer's name in the TensorFlow.js model.
pub(super) fn node_name(layer: &str) -> String {
    let part = |nth: usize| layer.split('.').nth(nth).unwrap_or_default();
    let number = |nth: usize| part(nth).parse::<usize>().unwrap_or_default();
    match part(0) {
        "stem" => "Conv1_relu/Relu6".to_owned(),
        "stages" => {
            let before = STAGES.iter().take(number(1)).map(|stage| stage.2).sum::<usize>();
            let block = match before + number(2) {
                0 => "expanded_conv".to_owned(),
                nth => format!("block_{nth}"),
            };
            match part(3) {
                "expand" => format!("{block}_expand_relu/Relu6"),
                "depthwise" => format!("{block}_depthwise/depthwise"),
                _ => format!("{block}_project_BN/FusedBatchNormV3"),
            }
        }
        "laterals" => format!("model_1/conv2d_{}/BiasAdd", 4 - number(1)),
        "last" => "out_relu/Relu6".to_owned(),
        "reduce" => "model_1/conv2d/BiasAdd".to_owned(),
        "pyramid" => {
            let suffix = ["_2", "_1", ""][number(1).min(2)];
            match part(2) {
                "depthwise" => {
                    format!("model_1/separable_conv2d{suffix}/separable_conv2d/depthwise")
                }
                _ => format!("model_1/re_lu{suffix}/Relu"),
            }
        }
        _ => {
            let (head, nth) = match part(1) {
                "centre" => ("center_0", 3),
                "heat_map" => ("kpt_heatmap_0", 4),
                "regression" => ("kpt_regress_0", 5),
                _ => ("kpt_offset_0", 6),
            };
            match part(2) {
                "depthwise" => format!("{head}/separable_conv2d_{nth}/separable_conv2d/depthwise"),
                "widen" => format!("{head}/re_lu_{nth}/Relu"),
                _ => format!("{head}/conv2d_{}/BiasAdd", nth + 1),
            }
        }
    }
}
