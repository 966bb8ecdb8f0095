//! Captures without a pipeline: their content, and tables that other tools read.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::{capture, data, process, python};

/// Reads both tables with pyarrow, checks that they are equal, and prints some of their values.
const READERS: &str = r"
import pyarrow.feather, pyarrow.parquet, sys
tables = [pyarrow.parquet.read_table(sys.argv[1]), pyarrow.feather.read_table(sys.argv[2])]
assert tables[0].equals(tables[1])
table = tables[0]
rows = table.to_pylist()
print(table.num_rows, rows[0]['rx_antennas'], len(rows[0]['subcarriers']), len(rows[0]['iq']), rows[0]['iq'][:2], rows[-1]['sequence'])
";

pub(crate) fn a_capture_is_told_by_its_bytes() {
    let directory = tempfile::tempdir().expect("room");
    let write =
        |name: &str, bytes: &[u8]| fs::write(directory.path().join(name), bytes).expect("room");
    for (format, bytes, link, rate_hz, dropped) in [
        ("intel5300", capture::intel5300(), "ap", 100.0, json!({})),
        // Two boards in turn, and a boot message.
        (
            "esp32",
            capture::esp32(),
            "94:d9:b3:80:8c:80",
            50.0,
            json!({ "no record of this format": 1 }),
        ),
    ] {
        write("capture", &bytes);
        let said = process::succeed(directory.path(), &["inspect", "capture", "--json"]);
        let said: Value = serde_json::from_str(&said).expect("JSON");
        assert_eq!(said["format"], format);
        assert_eq!((&said["n_frames"], &said["dropped"]), (&json!(capture::N_FRAMES), &dropped));
        let first = &said["links"][0];
        assert_eq!(first["transmitter"], link);
        assert!((first["rate_hz"].as_f64().expect("a rate") - rate_hz).abs() < 0.1, "{first}");
        let text = process::succeed(directory.path(), &["inspect", "capture"]);
        assert!(text.contains(&format!("format: {format}")), "{text}");
    }
    write("text", b"hello");
    let said = process::fail(directory.path(), &["inspect", "text"], 1);
    assert!(said.contains("was not recognised"), "{said}");
    let said = process::fail(directory.path(), &["convert", "capture", "table.csv"], 1);
    assert!(said.contains(".parquet or .arrow"), "{said}");
    let said = process::fail(directory.path(), &["inspect", "nowhere"], 1);
    assert!(said.contains("could not read"), "{said}");
}

/// Clock steps and rates follow the order of the capture, also if frames of two layouts alternate.
pub(crate) fn shapes_in_turn_keep_their_order() {
    let directory = tempfile::tempdir().expect("room");
    fs::write(directory.path().join("capture"), capture::esp32_in_two_shapes()).expect("room");
    let said = process::succeed(directory.path(), &["inspect", "capture", "--json"]);
    let said: Value = serde_json::from_str(&said).expect("JSON");
    let links = said["links"].as_array().expect("a list");
    assert_eq!(links.len(), 2, "{said}");
    for link in links {
        let steps = (&link["n_back_steps"], &link["n_long_steps"], &link["n_missed"]);
        assert_eq!(steps, (&json!(0), &json!(0), &json!(0)), "{link}");
        assert!((link["rate_hz"].as_f64().expect("a rate") - 50.0).abs() < 0.1, "{link}");
        assert_eq!(link["layouts"].as_array().map(Vec::len), Some(2), "{link}");
    }
}

pub(crate) fn a_capture_is_drawn() {
    let directory = tempfile::tempdir().expect("room");
    fs::write(directory.path().join("capture"), capture::intel5300()).expect("room");
    process::succeed(directory.path(), &["inspect", "capture", "--plot", "picture.png"]);
    let file = fs::File::open(directory.path().join("picture.png")).expect("it was written");
    let mut reader = png::Decoder::new(std::io::BufReader::new(file)).read_info().expect("a PNG");
    let mut pixels = vec![0; reader.output_buffer_size().expect("it fits")];
    let (width, height) = reader.info().size();
    reader.next_frame(&mut pixels).expect("a PNG");
    // A heading, and two panels beside each other for each of three antennas.
    assert_eq!((width, height), (1440, 36 + 3 * 260));
    // While a person moves, amplitudes differ from frame to frame.
    let row = |y: usize| &pixels[3 * 1440 * y..3 * 1440 * (y + 1)];
    let middle: Vec<&[u8]> = row(36 + 130).chunks(3).collect();
    let change = |from_frame: usize| {
        // The panel reaches from pixel 54 to pixel 628.
        let pixel = |frame: usize| 54 + frame * 574 / capture::N_FRAMES;
        let columns = &middle[pixel(from_frame)..pixel(from_frame + 500)];
        let pairs = columns.windows(2).flat_map(|pair| pair[0].iter().zip(pair[1]));
        pairs.map(|(before, after)| u32::from(before.abs_diff(*after))).sum::<u32>()
    };
    assert!(change(1600) > 2 * change(500), "{} {}", change(1600), change(500));
    fs::write(directory.path().join("boot"), "CSI_DATA,broken\n".repeat(3)).expect("room");
    let arguments = ["inspect", "boot", "--format", "esp32", "--plot", "none.png"];
    let said = process::fail(directory.path(), &arguments, 1);
    assert!(said.contains("no frame of the format esp32"), "{said}");
    let arguments = ["inspect", "capture", "--plot", "picture.jpg"];
    let said = process::fail(directory.path(), &arguments, 1);
    assert!(said.contains("ends with .png"), "{said}");
    let arguments = ["convert", "capture", "table.parquet", "--format", "atheros"];
    let said = process::fail(directory.path(), &arguments, 1);
    assert!(said.contains("it looks like intel5300"), "{said}");
}

pub(crate) fn tables_are_read_by_others() {
    let directory = tempfile::tempdir().expect("room");
    let capture = capture::intel5300();
    fs::write(directory.path().join("capture"), capture).expect("room");
    for table in ["table.parquet", "table.arrow"] {
        let said = process::succeed(directory.path(), &["convert", "capture", table]);
        assert_eq!(said, format!("{} frames, 0 records could not be used\n", capture::N_FRAMES));
    }
    let path = |name: &str| directory.path().join(name).display().to_string();
    let said = python::run(READERS, &[&path("table.parquet"), &path("table.arrow")]);
    let last = capture::N_FRAMES - 1;
    assert!(said.starts_with(&format!("{} [0, 1, 2] 30 180 [", capture::N_FRAMES)), "{said}");
    assert!(said.trim().ends_with(&last.to_string()), "{said}");
}

/// The format of every real capture is recognised from its bytes.
pub(crate) fn real_captures_are_told_by_their_bytes() {
    for (folder, format) in [
        ("intel5300", "intel5300"),
        ("atheros", "atheros"),
        ("nexmon", "nexmon"),
        ("esp32", "esp32"),
        ("picoscenes", "picoscenes"),
        ("feitcsi", "feitcsi"),
        ("ruview-adr018", "ruview"),
    ] {
        for file in fs::read_dir(data::file(&format!("csi/{folder}"))).expect("captures are there")
        {
            let path = file.expect("listed").path();
            if path.extension().is_some_and(|ending| ending == "datstp") {
                continue;
            }
            let name = path.display().to_string();
            let said = process::succeed(Path::new("."), &["inspect", &name, "--json"]);
            let said: Value = serde_json::from_str(&said).expect("JSON");
            assert_eq!(said["format"], format, "{name}");
            assert!(said["n_frames"].as_u64().is_some_and(|n_frames| n_frames > 0), "{name}");
            // Recordings with clock jumps, and antennas with a usable or a meaningless phase.
            let first = &said["links"][0];
            if name.ends_with("los_5.dat") {
                assert_eq!(
                    (&first["n_back_steps"], &first["n_missed"]),
                    (&json!(1), &json!(0)),
                    "{first}"
                );
            }
            if name.ends_with("sample_0x5_64_3000.dat") {
                let quality = &first["layouts"][0]["phase_quality"][1];
                assert_eq!(quality["rows"], json!([0, 2]));
                let steadiness = quality["steadiness"].as_f64().expect("a number");
                assert!((steadiness - 0.93).abs() < 0.01, "{quality}");
            }
        }
    }
}

/// Returns true if captures that other projects have published are available.
pub(crate) fn wild_captures_are_there() -> bool {
    data::file("csi/wild").exists()
}

/// Captures that other projects have published are recognised: two counters of one transmitter, times as
/// text, and amplitudes without phases.
pub(crate) fn captures_in_the_wild_are_told() {
    for (name, format, n_frames, n_missed, dropped) in [
        ("epic-csu_lab_5000.pcap", "nexmon", 5000, 238, json!({})),
        ("epic-csu_test_274_2_100.pcap", "nexmon", 100, 1, json!({})),
        ("ruview_record-csi-udp.csi.jsonl", "ruview", 300, 0, json!({})),
        (
            "v2_data_recordings_rec_1772472968919-20260302_173608.csi.jsonl",
            "ruview",
            0,
            0,
            json!({ "amplitudes without phases": 3 }),
        ),
    ] {
        let path = data::file("csi/wild").join(name).display().to_string();
        let said = process::succeed(Path::new("."), &["inspect", &path, "--json"]);
        let said: Value = serde_json::from_str(&said).expect("JSON");
        assert_eq!((&said["format"], &said["n_frames"]), (&json!(format), &json!(n_frames)));
        assert_eq!(said["dropped"], dropped, "{name}");
        let links = said["links"].as_array().expect("a list");
        let sum = |field: &str| links.iter().filter_map(|link| link[field].as_u64()).sum::<u64>();
        assert_eq!((sum("n_missed"), sum("n_back_steps")), (n_missed, 0), "{name}");
    }
}
