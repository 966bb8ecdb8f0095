//! Clips of people whose motion is known: the simulator's true poses, drawn as a camera would see them.

use std::f32::consts::PI;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

const WIDTH: usize = 640;
const HEIGHT: usize = 480;
/// The camera looks into the room from the side of y = 0, a little downwards.
const CAMERA_M: [f32; 3] = [3.0, -5.0, 1.7];
const PITCH_RAD: f32 = 7.0 * PI / 180.0;
const FOCAL_LENGTH: f32 = 700.0;
/// The far wall of the room, and the size of its elevation, which keypoints are shares of.
const DEPTH_M: f32 = 4.8;
const ELEVATION_M: [f32; 2] = [6.0, 2.6];
/// Half the distance of left and right limbs from the middle of the body.
const HALF_WIDTH_M: f32 = 0.07;

type Colour = [u8; 3];
const SKIN: Colour = [225, 180, 150];
const HAIR: Colour = [70, 50, 40];
const SHOE: Colour = [35, 35, 35];
/// Shirt and trousers of each person.
const CLOTHES: [[Colour; 2]; 3] = [
    [[190, 60, 60], [40, 70, 120]],
    [[60, 150, 70], [60, 60, 60]],
    [[40, 130, 180], [110, 70, 50]],
];

/// Draws the frames of true poses, and encodes them at `rate` pictures a second as `name`.
pub(crate) fn film(folder: &Path, name: &str, truth: &[Value], rate: u32) {
    let size = format!("{WIDTH}x{HEIGHT}");
    let rate = rate.to_string();
    let raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", &size, "-framerate", &rate, "-i", "-"];
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-y"]).args(raw).args(["-pix_fmt", "yuv420p", name]);
    let mut encoder = command.current_dir(folder).stdin(Stdio::piped()).spawn().expect("ffmpeg");
    let mut pipe = encoder.stdin.take().expect("a pipe");
    for frame in truth {
        let mut picture = Picture::of_room();
        let mut persons: Vec<_> = frame["persons"].as_array().expect("a list").iter().collect();
        // The farthest first.
        persons.sort_by(|a, b| depth_m(b).total_cmp(&depth_m(a)));
        for person in persons {
            picture.draw(person);
        }
        pipe.write_all(&picture.0).expect("ffmpeg reads");
    }
    drop(pipe);
    assert!(encoder.wait().expect("it ends").success());
}

fn number(value: &Value) -> f32 {
    value.as_f64().expect("a number") as f32
}

fn depth_m(person: &Value) -> f32 {
    number(&person["position"]["y_m"])
}

/// Returns where a point of the room is in the picture, and pixels per metre there.
fn project([x_m, y_m, up_m]: [f32; 3]) -> ([f32; 2], f32) {
    let [x_m, y_m, up_m] = [x_m - CAMERA_M[0], y_m - CAMERA_M[1], up_m - CAMERA_M[2]];
    let (sin, cos) = PITCH_RAD.sin_cos();
    let scale = FOCAL_LENGTH / (y_m * cos - up_m * sin);
    let down_m = -(y_m * sin + up_m * cos);
    ([WIDTH as f32 / 2.0 + scale * x_m, HEIGHT as f32 / 2.0 + scale * down_m], scale)
}

/// Returns the joints in metres. Elevations do not tell left from right in depth, so these are spread.
fn joints_m(person: &Value) -> Vec<[f32; 3]> {
    let keypoints = person["keypoints"].as_array().expect("a list");
    let joint = |(nth, keypoint): (usize, &Value)| {
        let side = if nth < 5 { 0.0 } else { HALF_WIDTH_M * if nth % 2 == 1 { 1.0 } else { -1.0 } };
        let x_m = number(&keypoint["x"]) * ELEVATION_M[0];
        [x_m, depth_m(person) + side, (1.0 - number(&keypoint["y"])) * ELEVATION_M[1]]
    };
    keypoints.iter().enumerate().map(joint).collect()
}

fn mid(a: [f32; 3], b: [f32; 3], share: f32) -> [f32; 3] {
    std::array::from_fn(|axis| a[axis] + share * (b[axis] - a[axis]))
}

fn raised([x_m, y_m, up_m]: [f32; 3], by_m: f32) -> [f32; 3] {
    [x_m, y_m, up_m + by_m]
}

fn darker(colour: Colour) -> Colour {
    colour.map(|it| it / 4 * 3)
}

/// Red, green and blue of each pixel.
struct Picture(Vec<u8>);

impl Picture {
    /// Returns an empty room: a wall, and a floor that is brighter in front.
    fn of_room() -> Self {
        let ([_, floor_begins], _) = project([0.0, DEPTH_M, 0.0]);
        let row = |y: usize| {
            let share = (y as f32 - floor_begins) / (HEIGHT as f32 - floor_begins);
            let floor = [190.0, 160.0, 120.0_f32].map(|it| (it * (0.55 + 0.35 * share)) as u8);
            let colour = if share < 0.0 { [220, 215, 205] } else { floor };
            colour.repeat(WIDTH)
        };
        Self((0..HEIGHT).flat_map(row).collect())
    }

    /// Draws a person who looks along the x axis, limb by limb, those on the far side first.
    fn draw(&mut self, person: &Value) {
        let joints = joints_m(person);
        let nth: usize = person["id"].as_str().and_then(|id| id.parse().ok()).expect("a number");
        let [shirt, trousers] = CLOTHES[nth % CLOTHES.len()];
        self.leg(&joints, 11, darker(trousers));
        self.arm(&joints, 5, darker(shirt));
        let (shoulders, hips) = (mid(joints[5], joints[6], 0.5), mid(joints[11], joints[12], 0.5));
        self.limb([shoulders, hips], [0.16, 0.13], shirt);
        self.limb([shoulders, raised(shoulders, 0.12)], [0.055, 0.05], SKIN);
        self.leg(&joints, 12, trousers);
        self.arm(&joints, 6, darker(shirt));
        self.head(&joints);
    }

    /// Draws the leg of a hip.
    fn leg(&mut self, joints: &[[f32; 3]], hip: usize, trousers: Colour) {
        let [hip, knee, ankle] = [joints[hip], joints[hip + 2], joints[hip + 4]];
        self.limb([hip, knee], [0.09, 0.065], trousers);
        self.limb([knee, ankle], [0.06, 0.045], trousers);
        let toes = [ankle[0] + 0.08, ankle[1], ankle[2] - 0.03];
        self.limb([ankle, toes], [0.05, 0.04], SHOE);
    }

    /// Draws the arm of a shoulder.
    fn arm(&mut self, joints: &[[f32; 3]], shoulder: usize, sleeve: Colour) {
        let [shoulder, elbow, wrist] =
            [joints[shoulder], joints[shoulder + 2], joints[shoulder + 4]];
        self.limb([shoulder, elbow], [0.058, 0.05], sleeve);
        self.limb([elbow, wrist], [0.045, 0.038], SKIN);
    }

    fn head(&mut self, joints: &[[f32; 3]]) {
        let (nose, ears) = (joints[0], mid(joints[3], joints[4], 0.5));
        let centre = mid(ears, nose, 0.35);
        let face = mid(ears, nose, 0.7);
        self.limb([raised(centre, 0.03); 2], [0.12, 0.12], HAIR);
        self.limb([face, raised(face, -0.05)], [0.095, 0.08], SKIN);
        self.limb([joints[1]; 2], [0.012, 0.012], SHOE);
        self.limb([nose; 2], [0.018, 0.018], darker(SKIN));
    }

    /// Draws a limb as discs from one joint to the other, with a radius at each end.
    fn limb(&mut self, [from, to]: [[f32; 3]; 2], radii_m: [f32; 2], colour: Colour) {
        const N_DISCS: u8 = 24;
        for share in (0..=N_DISCS).map(|nth| f32::from(nth) / f32::from(N_DISCS)) {
            let (centre, scale) = project(mid(from, to, share));
            self.disc(centre, scale * (radii_m[0] + share * (radii_m[1] - radii_m[0])), colour);
        }
    }

    fn disc(&mut self, [x, y]: [f32; 2], radius: f32, colour: Colour) {
        let range = |centre: f32, size: usize| {
            let low = (centre - radius).max(0.0) as usize;
            low..((centre + radius + 1.0).max(0.0) as usize).min(size)
        };
        for row in range(y, HEIGHT) {
            for column in range(x, WIDTH) {
                if (column as f32 - x).hypot(row as f32 - y) <= radius.max(0.7) {
                    let at = 3 * (row * WIDTH + column);
                    self.0[at..at + 3].copy_from_slice(&colour);
                }
            }
        }
    }
}
