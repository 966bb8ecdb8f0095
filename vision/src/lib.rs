//! Neural networks that find people and their poses in pictures.

mod detector;
mod heat_map;
pub mod kernels;
pub mod layers;
mod models;
pub mod networks;
pub mod pictures;
mod pose_estimator;
pub mod weights;

pub use detector::{Detection, Detector};
pub use models::{
    Loaded, ModelCard, ModelError, StoredModel, add_model, cpu, detector, device, hex_sha256,
    list_models, load_detector, load_pose_estimator, models_folder, pose_estimator, remove_model,
};
pub use pose_estimator::{Keypoint, N_KEYPOINTS, Pose, PoseEstimator, Subject};
