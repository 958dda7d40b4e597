//! The handwritten digits: reading them, and splitting them into training and validation images.

use std::io::{Read, Write};
use std::path::Path;

use crate::error::{CliError, Result};
use crate::out;

/// Values of one image: 8x8 grey values.
pub const PIXELS: usize = 64;
/// Kinds of digits.
pub const CLASSES: usize = 10;
/// Highest grey value.
const GREY_MAX: f32 = 16.0;

/// Images with their labels.
#[derive(Clone, Debug, Default)]
pub struct Images {
    /// Grey values from 0 to 1, [`PIXELS`] per image.
    pub pixels: Vec<f32>,
    /// The digit on each image.
    pub labels: Vec<u8>,
}

impl Images {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// The grey values of one image.
    pub fn image(&self, index: usize) -> &[f32] {
        &self.pixels[index * PIXELS..(index + 1) * PIXELS]
    }

    /// Reads lines of 64 grey values and a label.
    ///
    /// # Errors
    /// [`CliError::Worker`] when the text has another form.
    pub fn parse(text: &str) -> Result<Self> {
        let mut images = Self::default();
        for line in text.lines() {
            let values = line.split(',').map(str::parse::<u8>).collect::<Result<Vec<_>, _>>();
            match values.as_deref() {
                Ok([pixels @ .., label]) if pixels.len() == PIXELS && usize::from(*label) < CLASSES => {
                    images.pixels.extend(pixels.iter().map(|grey| f32::from(*grey) / GREY_MAX));
                    images.labels.push(*label);
                }
                _ => return Err(CliError::Worker { fault: format!("was given a line that is no image: {line:?}") }),
            }
        }
        Ok(images)
    }

    /// Reads a file of such lines.
    ///
    /// # Errors
    /// [`CliError::Io`], [`CliError::Worker`].
    pub fn read(path: &Path) -> Result<Self> {
        Self::parse(&std::fs::read_to_string(path).map_err(CliError::io("read the images", path))?)
    }
}

/// Unpacks the gzipped lines of the data set.
///
/// # Errors
/// [`CliError::Io`].
pub fn unpack(path: &Path) -> Result<String> {
    let file = std::fs::File::open(path).map_err(CliError::io("read the images", path))?;
    let mut text = String::new();
    let mut decoder = flate2::read::MultiGzDecoder::new(file);
    decoder.read_to_string(&mut text).map_err(CliError::io("unpack the images", path))?;
    Ok(text)
}

/// Splits the lines at random, a fifth for validation, and writes both parts. Returns their sizes.
///
/// # Errors
/// [`CliError::Io`].
pub fn split(text: &str, seed: u64, train: &Path, validation: &Path) -> Result<(usize, usize)> {
    let mut lines: Vec<&str> = text.lines().collect();
    Random::new(seed).shuffle(&mut lines);
    let (kept, trained) = lines.split_at(lines.len() / 5);
    for (path, lines) in [(train, trained), (validation, kept)] {
        let text: String = lines.iter().flat_map(|line| [line, "\n"]).collect();
        out::write_file(path, |file| file.write_all(text.as_bytes()).map_err(CliError::io("write", path)))?;
    }
    Ok((trained.len(), kept.len()))
}

/// Random numbers that are the same everywhere for the same seed.
///
/// SplitMix64: G. Steele, D. Lea, C. Flood, "Fast Splittable Pseudorandom Number Generators", 2014.
pub struct Random {
    state: u64,
}

impl Random {
    /// The numbers of this seed.
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Uniform in [0, 1).
    fn uniform(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Normally distributed around 0 with standard deviation 1 (Box-Muller).
    pub fn normal(&mut self) -> f32 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        (radius * (std::f64::consts::TAU * self.uniform()).cos()) as f32
    }

    /// Puts the items in a random order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, (self.uniform() * (i + 1) as f64) as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_split_loses_no_image() {
        let folder = tempfile::tempdir().unwrap();
        let (train, validation) = (folder.path().join("train.csv"), folder.path().join("val.csv"));
        let text: String = (0..10).map(|label| format!("{}{label}\n", "3,".repeat(PIXELS))).collect();
        assert_eq!(split(&text, 0, &train, &validation).unwrap(), (8, 2));
        let (train, validation) = (Images::read(&train).unwrap(), Images::read(&validation).unwrap());
        let mut labels = [train.labels.clone(), validation.labels].concat();
        labels.sort_unstable();
        assert_eq!(labels, (0..10).collect::<Vec<u8>>());
        assert_eq!(train.image(3), [3.0 / 16.0; PIXELS]);
    }

    #[test]
    fn a_line_that_is_no_image_is_an_error() {
        assert!(Images::parse("1,2,3").is_err());
        assert!(Images::parse(&format!("{}10", "3,".repeat(PIXELS))).is_err());
    }

    #[test]
    fn random_numbers_repeat_and_spread() {
        let numbers = |seed| {
            let mut random = Random::new(seed);
            (0..1000).map(|_| random.normal()).collect::<Vec<f32>>()
        };
        assert_eq!(numbers(1), numbers(1));
        assert_ne!(numbers(1), numbers(2));
        let mean: f32 = numbers(1).iter().sum::<f32>() / 1000.0;
        assert!(mean.abs() < 0.1, "{mean}");
    }
}
