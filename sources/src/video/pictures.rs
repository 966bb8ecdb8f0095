//! A folder of pictures, in the natural order of their names: 2 before 10.

use std::cmp::Ordering;
use std::io;
use std::path::{Path, PathBuf};

use image::imageops::{self, FilterType};
use image::{ImageDecoder, ImageReader, Limits, RgbImage};

/// Endings of files that are pictures.
const ENDINGS: [&str; 4] = ["jpg", "jpeg", "png", "webp"];
const MAX_SIDE: u32 = 16_384;
const MAX_BYTES: u64 = 1 << 29;

/// Returns the pictures of a folder.
///
/// # Errors
///
/// [`io::Error`] if the folder cannot be read.
pub(super) fn list(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = folder.read_dir()?.map(|entry| Ok(entry?.path()));
    let mut files = entries.collect::<io::Result<Vec<_>>>()?;
    files.retain(|path| is_picture(path));
    files.sort_by(|a, b| natural(a, b));
    Ok(files)
}

/// Returns the pictures after one of them.
pub(super) fn after<'a>(files: &'a [PathBuf], last: &Path) -> &'a [PathBuf] {
    let n_before = files.partition_point(|file| natural(file, last) != Ordering::Greater);
    &files[n_before..]
}

fn is_picture(path: &Path) -> bool {
    let ending = path.extension().map(|ending| ending.to_string_lossy().to_ascii_lowercase());
    ending.is_some_and(|ending| ENDINGS.contains(&ending.as_str()))
}

/// Orders names by their numbers and by the text between them.
fn natural(a: &Path, b: &Path) -> Ordering {
    let [a, b] = [a, b].map(|path| path.to_string_lossy().into_owned());
    let (mut left, mut right) = (a.as_str(), b.as_str());
    loop {
        let order = match (digits(left), digits(right)) {
            (0, _) | (_, 0) => match (left.chars().next(), right.chars().next()) {
                (None, None) => return a.cmp(&b),
                (one, other) => {
                    (left, right) = (rest(left, one), rest(right, other));
                    one.cmp(&other)
                }
            },
            (one, other) => {
                let numbers = [&left[..one], &right[..other]];
                let [first, second] = numbers.map(|number| number.trim_start_matches('0'));
                (left, right) = (&left[one..], &right[other..]);
                first.len().cmp(&second.len()).then_with(|| first.cmp(second))
            }
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

fn digits(text: &str) -> usize {
    text.bytes().take_while(u8::is_ascii_digit).count()
}

fn rest(text: &str, first: Option<char>) -> &str {
    first.map_or(text, |first| &text[first.len_utf8()..])
}

/// A decoded picture.
#[derive(Debug)]
pub(super) struct Picture {
    pub(super) pixels: RgbImage,
    /// Pixels of the file per pixel.
    pub(super) scale: f32,
}

/// Decodes a picture to at most a size.
///
/// # Errors
///
/// The reason why the file cannot be decoded.
pub(super) fn decode(path: &Path, max_width: u32, max_height: u32) -> Result<Picture, String> {
    let reader = ImageReader::open(path).and_then(ImageReader::with_guessed_format);
    let mut reader = reader.map_err(|error| error.to_string())?;
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(MAX_BYTES);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(|error| error.to_string())?;
    let orientation = decoder.orientation().map_err(|error| error.to_string())?;
    let mut picture =
        image::DynamicImage::from_decoder(decoder).map_err(|error| error.to_string())?;
    picture.apply_orientation(orientation);
    Ok(smaller(picture.into_rgb8(), max_width, max_height))
}

fn smaller(pixels: RgbImage, max_width: u32, max_height: u32) -> Picture {
    let (width, height) = pixels.dimensions();
    let scale = (width as f32 / max_width as f32).max(height as f32 / max_height as f32);
    if scale <= 1.0 {
        return Picture { pixels, scale: 1.0 };
    }
    let side = |side: u32| ((side as f32 / scale).round() as u32).max(1);
    let pixels = imageops::resize(&pixels, side(width), side(height), FilterType::Triangle);
    Picture { pixels, scale }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_in_natural_order() {
        let mut names = ["b.png", "a10.png", "a2.png", "a02.png", "a.png", "10.jpg", "9.jpg"];
        names.sort_by(|a, b| natural(Path::new(a), Path::new(b)));
        assert_eq!(names, ["9.jpg", "10.jpg", "a.png", "a02.png", "a2.png", "a10.png", "b.png"]);
    }

    #[test]
    fn large_pictures_become_smaller() {
        for (size, expected, scale) in [
            ((1280, 720), (1280, 720), 1.0),
            ((2560, 720), (1280, 360), 2.0),
            ((10, 7200), (1, 720), 10.0),
        ] {
            let picture = smaller(RgbImage::new(size.0, size.1), 1280, 720);
            assert_eq!((picture.pixels.dimensions(), picture.scale), (expected, scale));
        }
    }
}
