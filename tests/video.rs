//! Pictures of clips and folders, and the people in them.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::thread;

use serde_json::{Value, json};

use crate::support::{data, ffmpeg, lines, models, process};

/// A pipeline that looks for people in a video.
fn pipeline(folder: &Path, url: &str, settings: &str, model: &str) {
    let models = json!(models::folder());
    let text = format!(
        "name = \"camera\"\n\
         [sources.camera]\ntype = \"video\"\nurl = {url:?}\n{settings}\n\
         [operators.people]\ntype = \"estimate_pose\"\ninputs = [\"camera\"]\nmodel = {model:?}\nmodels = {models}\n\
         [sinks.lines]\ntype = \"json_lines\"\ninputs = [\"people\"]\npath = \"people.jsonl\"\n\
         [sinks.errors]\ntype = \"json_lines\"\ninputs = [\"camera.errors\"]\npath = \"errors.jsonl\"\n"
    );
    fs::write(folder.join("camera.toml"), text).expect("room");
}

fn records(folder: &Path) -> Vec<Value> {
    lines::records(&folder.join("people.jsonl"))
}

fn times_ms(records: &[Value]) -> Vec<i64> {
    let ns = records.iter().map(|record| record["captured_at_ns"].as_i64().expect("a time"));
    ns.map(|ns| ns / 1_000_000).collect()
}

pub(crate) fn a_clip_has_all_its_pictures() {
    let folder = tempfile::tempdir().expect("room");
    let clip = "testsrc2=size=320x240:rate=25:duration=2";
    ffmpeg::make_clip(folder.path(), "clip.mp4", clip, &["-pix_fmt", "yuv420p"]);
    pipeline(folder.path(), "clip.mp4", "starts_at_s = 1000", "movenet-lightning");
    process::succeed(folder.path(), &["run", "camera.toml"]);
    let frames = records(folder.path());
    let expected: Vec<_> = (0..50).map(|nth| 1_000_000 + nth * 40).collect();
    assert_eq!(times_ms(&frames), expected);
    let numbers: Vec<_> = frames.iter().map(|frame| frame["frame_id"].as_u64()).collect();
    assert_eq!(numbers, (0..50).map(Some).collect::<Vec<_>>());
    assert!(frames.iter().all(|frame| frame["source_kind"] == "replay"));
    assert_eq!(lines::records(&folder.path().join("errors.jsonl")).len(), 0);
    let again = process::fresnel(folder.path(), &["run", "camera.toml"]);
    let said = String::from_utf8_lossy(&again.stderr);
    assert!(again.status.success() && !said.contains("ends early"), "{said}");
}

/// A run that is killed goes on at the picture where it was, whatever the number of workers.
pub(crate) fn a_killed_run_goes_on_at_its_picture() {
    let folder = tempfile::tempdir().expect("room");
    let clip = "testsrc2=size=160x120:rate=30:duration=4";
    let with_b_frames = ["-pix_fmt", "yuv420p", "-bf", "3", "-g", "60"];
    ffmpeg::make_clip(folder.path(), "clip.mp4", clip, &with_b_frames);
    let mut contents = Vec::new();
    for workers in ["1", "2", "4"] {
        pipeline(folder.path(), "clip.mp4", "", "movenet-lightning");
        remove_output(folder.path());
        process::succeed(folder.path(), &["run", "--workers", workers, "camera.toml"]);
        contents.push(fs::read_to_string(folder.path().join("people.jsonl")).expect("a file"));
    }
    remove_output(folder.path());
    pipeline(folder.path(), "clip.mp4", "speed = \"recorded\"", "movenet-lightning");
    let run = ["run", "--workers", "2", "camera.toml"];
    let n_lines = || {
        let text = fs::read_to_string(folder.path().join("people.jsonl")).unwrap_or_default();
        text.lines().count()
    };
    for n_wanted in [35, 65, 95] {
        let mut server = process::Server::start_silent(folder.path(), &run);
        server.wait_until(|| n_lines() >= n_wanted);
        server.signal("KILL");
        server.wait_for_signal();
    }
    let output = process::fresnel(folder.path(), &[&run[..], &["--take-over"]].concat());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("resuming from the checkpoint"), "{said}");
    contents.push(fs::read_to_string(folder.path().join("people.jsonl")).expect("a file"));
    assert_eq!(contents[0].lines().count(), 120);
    for other in &contents[1..] {
        assert!(*other == contents[0], "the output differs");
    }
}

fn remove_output(folder: &Path) {
    for file in ["people.jsonl", "errors.jsonl", "fresnel.db", "fresnel.db-wal", "fresnel.db-shm"] {
        // The first run has none of them.
        let _ = fs::remove_file(folder.join(file));
    }
}

pub(crate) fn damage_is_reported() {
    let folder = tempfile::tempdir().expect("room");
    let clip = "testsrc2=size=160x120:rate=25:duration=4";
    ffmpeg::make_clip(folder.path(), "whole.mkv", clip, &["-pix_fmt", "yuv420p"]);
    let whole = fs::read(folder.path().join("whole.mkv")).expect("a file");
    fs::write(folder.path().join("clip.mkv"), &whole[..whole.len() / 2]).expect("room");
    pipeline(folder.path(), "clip.mkv", "", "movenet-lightning");
    process::succeed(folder.path(), &["run", "camera.toml"]);
    let n_frames = records(folder.path()).len();
    assert!((20..80).contains(&n_frames), "{n_frames} frames");
    let errors = lines::records(&folder.path().join("errors.jsonl"));
    assert_eq!(errors.len(), 1);
    assert_eq!(errors[0]["reason"], "damaged video");
}

pub(crate) fn what_is_no_video_is_an_error() {
    let folder = tempfile::tempdir().expect("room");
    let playlist = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/passwd\n";
    for (name, content) in [
        ("text.mp4", "no video"),
        ("empty.mp4", ""),
        ("playlist.mp4", playlist),
        ("concat.mp4", "ffconcat version 1.0\nfile '/etc/passwd'\n"),
    ] {
        fs::write(folder.path().join(name), content).expect("room");
        pipeline(folder.path(), name, "", "movenet-lightning");
        remove_output(folder.path());
        let output = process::fresnel(folder.path(), &["run", "camera.toml"]);
        let errors = lines::records(&folder.path().join("errors.jsonl"));
        assert_eq!(errors.len(), 1, "{name}: {output:?}");
        assert_eq!(errors[0]["reason"], "damaged video", "{name}");
        assert_eq!(records(folder.path()).len(), 0, "{name}");
    }
    ffmpeg::make_clip(folder.path(), "sound.mp4", "sine=duration=1", &[]);
    pipeline(folder.path(), "sound.mp4", "", "movenet-lightning");
    remove_output(folder.path());
    let output = process::fresnel(folder.path(), &["run", "camera.toml"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("it has no pictures"), "{said}");
}

/// A file that the server does not have is not requested again.
pub(crate) fn a_file_that_a_server_does_not_have_is_an_error() {
    let folder = tempfile::tempdir().expect("room");
    let url = serve_once("404 Not Found", Vec::new());
    pipeline(folder.path(), &url, "", "movenet-lightning");
    process::fresnel(folder.path(), &["run", "camera.toml"]);
    let errors = lines::records(&folder.path().join("errors.jsonl"));
    let reasons: Vec<_> = errors.iter().map(|error| error["reason"].as_str()).collect();
    assert_eq!(reasons, [Some("damaged video")]);
}

pub(crate) fn videos_that_cannot_be_are_reported_by_validate() {
    let folder = tempfile::tempdir().expect("room");
    for (url, settings, expected) in [
        ("gone.mp4", "", "gone.mp4 not found"),
        ("concat://a", "", "url must be a path, or begin with rtsp://"),
        ("rtsp://camera/1", "max_width = 1", "max_width must be from 16 to 8192"),
        ("gone.mp4", "live = true", "live is for URLs, not for files"),
    ] {
        pipeline(folder.path(), url, settings, "movenet-lightning");
        let errors = process::fail(folder.path(), &["validate", "camera.toml"], 78);
        assert!(errors.contains(expected), "{url}: {errors}");
    }
    pipeline(folder.path(), "rtsp://camera/1", "", "movenet-heavy");
    let errors = process::fail(folder.path(), &["validate", "camera.toml"], 78);
    assert!(errors.contains("movenet-thunder"), "{errors}");
}

/// `fresnel evaluate pose` measures an average precision on annotated pictures that is at most half a point below
/// that of ONNX Runtime with the same weights.
pub(crate) fn people_in_pictures_are_found() {
    let folder = tempfile::tempdir().expect("room");
    let truth = data::file("pose/coco/person_keypoints_val2017.json");
    let annotations: Value =
        serde_json::from_slice(&fs::read(&truth).expect("a file")).expect("JSON");
    let images = annotations["images"].as_array().expect("a list");
    fs::create_dir(folder.path().join("pictures")).expect("room");
    let has_keypoints = |image: &Value| {
        let people = annotations["annotations"].as_array().expect("a list").iter();
        people.clone().any(|person| {
            person["image_id"] == image["id"] && person["num_keypoints"].as_u64() > Some(0)
        })
    };
    let images: Vec<_> = images.iter().filter(|image| has_keypoints(image)).collect();
    let mut sorted: Vec<_> =
        images.iter().map(|image| image["id"].as_u64().expect("an id")).collect();
    sorted.sort_unstable();
    for image in &images {
        let name = image["file_name"].as_str().expect("a name");
        let from = data::file("pose/coco/val2017").join(name);
        fs::copy(from, folder.path().join("pictures").join(name)).expect("room");
    }
    pipeline(folder.path(), "pictures", "", "movenet-thunder");
    let text = fs::read_to_string(folder.path().join("camera.toml")).expect("a file");
    let text = text.replace("model = ", "min_confidence = 0.05\nmodel = ");
    fs::write(folder.path().join("camera.toml"), text).expect("room");
    process::succeed(folder.path(), &["run", "camera.toml"]);
    let frames = records(folder.path());
    assert_eq!(frames.len(), images.len());
    let mut results = Vec::new();
    for (frame, id) in frames.iter().zip(sorted) {
        let image = images.iter().find(|image| image["id"] == id).expect("it is there");
        let side = |name: &str| image[name].as_f64().expect("a side");
        let (width, height) = (side("width"), side("height"));
        for person in frame["persons"].as_array().expect("a list") {
            let number = |value: &Value| value.as_f64().expect("a number");
            let points = person["keypoints"].as_array().expect("a list").iter();
            let points: Vec<_> = points
                .map(|at| {
                    [number(&at["x"]) * width, number(&at["y"]) * height, number(&at["confidence"])]
                })
                .collect();
            let mean = points.iter().map(|at| at[2]).sum::<f64>() / points.len() as f64;
            let score = number(&person["confidence"]) * mean;
            results.push(json!({
                "image_id": id, "category_id": 1, "score": score, "keypoints": points.concat(),
            }));
        }
    }
    fs::write(folder.path().join("results.json"), json!(results).to_string()).expect("room");
    let truth = truth.to_str().expect("plain text");
    let arguments = ["evaluate", "pose", "--results", "results.json", "--truth", truth, "--json"];
    let scores: Value =
        serde_json::from_str(&process::succeed(folder.path(), &arguments)).expect("JSON");
    assert!(scores["ap"].as_f64() > Some(0.445), "{scores}");
    let found: BTreeSet<_> = results.iter().map(|result| result["image_id"].as_u64()).collect();
    assert_eq!(scores["n_images_with_results"], found.len());
}

/// Models come from files and URLs; a file that is not the expected one is refused, and a damaged one does not hide
/// the others.
pub(crate) fn models_are_listed_added_and_removed() {
    let folder = tempfile::tempdir().expect("room");
    let to = folder.path().join("models");
    let models = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_fresnel"))
            .args([&["models"], arguments].concat())
            .env("FRESNEL_MODELS", &to)
            .output()
            .expect("the program");
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&text).into_owned())
    };
    let weights = models::folder().join("movenet-lightning.safetensors");
    let hash = vision::hex_sha256(&fs::read(&weights).expect("a file"));
    let url = serve_once("200 OK", fs::read(&weights).expect("a file"));
    let (added, said) = models(&["add", "movenet-lightning", &url, "--sha256", &hash]);
    assert!(added, "{said}");
    let (refused, said) = models(&["add", "movenet-thunder", "http://127.0.0.1:9/a.onnx"]);
    assert!(!refused && said.contains("--sha256"), "{said}");
    let file = weights.to_string_lossy();
    let (added, said) = models(&["add", "movenet-thunder", &file, "--sha256", "00"]);
    assert!(!added && said.contains(&hash), "{said}");
    let (added, said) = models(&["add", "tinypose-128x96", &file]);
    assert!(!added && said.contains("have no layer"), "{said}");
    fs::write(to.join("damaged.safetensors"), "no weights").expect("room");
    let (listed, said) = models(&["ls"]);
    assert!(!listed && said.contains("movenet-lightning ") && said.contains("damaged"), "{said}");
    for name in ["damaged", "movenet-lightning"] {
        assert!(models(&["rm", name]).0);
    }
    let (listed, said) = models(&["ls"]);
    assert!(listed && said.contains("no models in"), "{said}");
}

/// Answers one request with a status and a file. Returns its URL.
fn serve_once(status: &'static str, content: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        let mut request = BufReader::new(stream.try_clone().expect("a stream")).lines();
        // The head of the request ends with an empty line.
        while request.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
        let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n", content.len());
        stream.write_all(&[head.as_bytes(), &content].concat()).expect("a client");
    });
    format!("http://{address}/weights.safetensors")
}

/// `fresnel detect`: the same files on every run, in the forms that it promises.
pub(crate) fn detections_are_files() {
    let folder = tempfile::tempdir().expect("room");
    let clip = "testsrc2=size=320x240:rate=10:duration=1";
    ffmpeg::make_clip(folder.path(), "my clip.mp4", clip, &["-pix_fmt", "yuv420p"]);
    let detect_in = |video: &str, output: &str, more: &[&str]| {
        let arguments = ["detect", "--pose-model", "movenet-lightning", "--output"];
        process::succeed(
            folder.path(),
            &[&arguments[..], &[output, "--video", video], more].concat(),
        )
    };
    let detect = |output: &str, more: &[&str]| detect_in("my clip.mp4", output, more);
    let said = detect("first", &["--vis"]);
    assert!(said.contains("10 pictures, people in 0 of them"), "{said}");
    detect("second", &["--vis", "--workers", "2"]);
    for file in [
        "pose.json",
        "alphapose-results.json",
        "coco-results.json",
        "overlay_my_clip/frame_000009.jpg",
    ] {
        let [first, second] = ["first", "second"]
            .map(|output| fs::read(folder.path().join(output).join(file)).expect("a file"));
        assert!(first == second, "{file} differs");
    }
    let pose: Value =
        serde_json::from_slice(&fs::read(folder.path().join("first/pose.json")).expect("a file"))
            .expect("JSON");
    assert_eq!(pose["schema"], "fresnel.pose/1");
    let frames = pose["frames"].as_array().expect("a list");
    let last = &frames[9];
    assert_eq!((frames.len(), &last["time_s"], &last["width"]), (10, &json!(0.9), &json!(320.0)));
    assert!(folder.path().join("first/overlay_my_clip.mp4").exists());
    assert!(folder.path().join("first/frames_my_clip/frame_000000.jpg").exists());
    let summary = || {
        let text = fs::read_to_string(folder.path().join("first/summary.json")).expect("a file");
        serde_json::from_str::<Value>(&text).expect("JSON")
    };
    let run = summary()["run"].clone();
    assert_eq!(run["n_frames"], 10);
    for stage in ["decode", "detect", "track", "overlay", "records"] {
        let busy_s = run["stages"][stage]["busy_s"].as_f64();
        assert!(busy_s > Some(0.0) && busy_s < Some(600.0), "{stage}: {run}");
    }
    let again = detect("first", &["--vis"]);
    assert!(again.contains("10 pictures, people in 0 of them, from an earlier run"), "{again}");
    assert_eq!(summary()["run"], run, "it is not repeated");
    let other = "testsrc2=size=320x240:rate=10:duration=2";
    ffmpeg::make_clip(folder.path(), "other.mp4", other, &["-pix_fmt", "yuv420p"]);
    let changed = detect_in("other.mp4", "first", &[]);
    assert!(changed.contains("20 pictures"), "another input is read anew: {changed}");
    let pictures = ["frames_my_clip", "overlay_my_clip", "overlay_my_clip.mp4"];
    assert!(!pictures.iter().any(|name| folder.path().join("first").join(name).exists()));
}

pub(crate) fn detections_that_fail_say_why() {
    let folder = tempfile::tempdir().expect("room");
    fs::write(folder.path().join("text.mp4"), "no video").expect("room");
    fs::create_dir(folder.path().join("out")).expect("room");
    let detect = |more: &[&str]| {
        process::fail(folder.path(), &[&["detect", "--output", "out"], more].concat(), 1)
    };
    for (arguments, expected) in [
        (["--video", "out"], "out is a folder: use --image-dir"),
        (["--image-dir", "text.mp4"], "text.mp4 is not a folder: use --video"),
        (["--url", "text.mp4"], "text.mp4 is not a URL: use --video"),
    ] {
        let errors = detect(&arguments);
        assert!(errors.contains(expected), "{errors}");
    }
    for (input, expected) in [
        (["--video", "text.mp4"], "text.mp4 is not a video that ffmpeg can read"),
        (["--image-dir", "out"], "out has no pictures"),
    ] {
        let errors = detect(&[&input[..], &["--dry-run"]].concat());
        assert!(errors.contains(expected), "{errors}");
    }
    let errors = detect(&["--video", "gone.mp4"]);
    assert!(errors.contains("could not read gone.mp4"), "{errors}");
    let reason = fs::read_to_string(folder.path().join("out/.error")).expect("a file");
    assert!(reason.contains("could not read gone.mp4"), "{reason}");
    let errors = detect(&["--video", "text.mp4", "--detector", "yolox-nano"]);
    assert!(errors.contains("there is no model \"yolox-nano\""), "{errors}");
    detect(&["--video", "text.mp4"]);
    let reason = fs::read_to_string(folder.path().join("out/.error")).expect("a file");
    assert!(reason.contains("text.mp4 has no pictures"), "{reason}");
    let pipeline = ["detect", "--video", "text.mp4", "--output", "out", "--print-pipeline"];
    let text = process::succeed(folder.path(), &pipeline);
    fs::write(folder.path().join("printed.toml"), text).expect("room");
    process::succeed(folder.path(), &["validate", "printed.toml"]);
}
