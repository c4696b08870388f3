//! One image: decoded, resized, cropped, in planes.

use crate::error::{DataError, Result};
use image::imageops::{self, FilterType};
use image::{DynamicImage, ImageBuffer, ImageReader, Limits, Pixel};
use std::path::Path;

/// How images of a folder become images of one size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preprocess {
    /// First, the size is changed, bilinearly and without aliasing.
    pub resize: Resize,
    /// Then the middle is cut out: \[height, width\].
    pub crop: Option<[usize; 2]>,
    /// What the channels are.
    pub color: Color,
}

/// How the size of an image is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resize {
    /// Not at all.
    Keep,
    /// The shorter side becomes this, the other in proportion.
    ShorterSide(usize),
    /// Both sides become these, whatever the proportions.
    Exact {
        /// Rows.
        height: usize,
        /// Columns.
        width: usize,
    },
}

/// Channels of decoded images; transparency is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Color {
    /// Red, green, blue; grey images have three equal channels.
    Rgb,
    /// One channel: the luma of colour images by ITU-R BT.709.
    Grey,
}

/// No side is longer, before or after resizing.
const MAX_SIDE: u32 = 1 << 14;

impl Preprocess {
    /// As they are, RGB.
    pub const fn keep() -> Self {
        Self {
            resize: Resize::Keep,
            crop: None,
            color: Color::Rgb,
        }
    }

    /// As networks are usually measured on ImageNet: the shorter side to `resize` (256), then a square of `crop`
    /// (224) from the middle, RGB.
    pub const fn imagenet(resize: usize, crop: usize) -> Self {
        Self {
            resize: Resize::ShorterSide(resize),
            crop: Some([crop, crop]),
            color: Color::Rgb,
        }
    }
}

impl Color {
    pub(super) fn channels(self) -> usize {
        match self {
            Self::Rgb => 3,
            Self::Grey => 1,
        }
    }
}

/// \[channels, height, width\] and the planes of an image file.
pub(super) fn image(path: &Path, preprocess: &Preprocess) -> Result<([usize; 3], Vec<u8>)> {
    let image = read(path)?;
    let planes = match preprocess.color {
        Color::Rgb => fit(image.into_rgb8(), preprocess),
        Color::Grey => fit(image.into_luma8(), preprocess),
    };
    planes.map_err(|what| DataError::corrupt(path, what))
}

fn read(path: &Path) -> Result<DynamicImage> {
    let reader = ImageReader::open(path).and_then(ImageReader::with_guessed_format);
    let mut reader = reader.map_err(DataError::io(path))?;
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    reader.limits(limits);
    reader.decode().map_err(|source| DataError::Image {
        path: path.to_owned(),
        source,
    })
}

fn fit<P: Pixel<Subpixel = u8> + 'static>(
    image: ImageBuffer<P, Vec<u8>>,
    preprocess: &Preprocess,
) -> std::result::Result<([usize; 3], Vec<u8>), String> {
    let (width, height) = image.dimensions();
    let [new_height, new_width] = resized([height, width], preprocess.resize)?;
    let image = if [new_height, new_width] == [height, width] {
        image
    } else {
        imageops::resize(&image, new_width, new_height, FilterType::Triangle)
    };
    let sides = [new_height as usize, new_width as usize];
    let crop = preprocess.crop.unwrap_or(sides);
    if crop[0] > sides[0] || crop[1] > sides[1] || crop.contains(&0) {
        return Err(format!(
            "{} x {} pixels (height x width) cannot be cropped to {} x {}; resize first, or crop to less",
            sides[0], sides[1], crop[0], crop[1]
        ));
    }
    let [top, left] = [0, 1].map(|axis| (sides[axis] - crop[axis]) / 2);
    let channels = usize::from(P::CHANNEL_COUNT);
    let mut planes = Vec::with_capacity(channels * crop[0] * crop[1]);
    for channel in 0..channels {
        for row in image
            .as_raw()
            .chunks_exact(sides[1] * channels)
            .skip(top)
            .take(crop[0])
        {
            let row = &row[left * channels..(left + crop[1]) * channels];
            planes.extend(row.iter().skip(channel).step_by(channels));
        }
    }
    Ok(([channels, crop[0], crop[1]], planes))
}

/// \[height, width\] after resizing.
fn resized([height, width]: [u32; 2], resize: Resize) -> std::result::Result<[u32; 2], String> {
    let wanted = match resize {
        Resize::Keep => [height as usize, width as usize],
        Resize::ShorterSide(side) => {
            let shorter = height.min(width).max(1) as usize;
            [height, width].map(|old| old as usize * side / shorter)
        }
        Resize::Exact { height, width } => [height, width],
    };
    let sides = wanted.map(|side| {
        u32::try_from(side)
            .ok()
            .filter(|side| (1..=MAX_SIDE).contains(side))
    });
    if let [Some(height), Some(width)] = sides {
        return Ok([height, width]);
    }
    let [to_height, to_width] = wanted;
    Err(format!(
        "{height} x {width} pixels would become {to_height} x {to_width}; sides are 1 to {MAX_SIDE}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{GrayImage, Luma, Rgb, RgbImage};

    /// Two rows of four pixels: red counts columns, green counts rows, blue is 9.
    fn image() -> RgbImage {
        RgbImage::from_fn(4, 2, |x, y| Rgb([x as u8, y as u8, 9]))
    }

    #[test]
    fn pixels_become_planes() {
        let (shape, planes) = fit(image(), &Preprocess::keep()).unwrap();
        assert_eq!(shape, [3, 2, 4]);
        assert_eq!(
            planes,
            [
                0, 1, 2, 3, 0, 1, 2, 3, 0, 0, 0, 0, 1, 1, 1, 1, 9, 9, 9, 9, 9, 9, 9, 9
            ]
        );
    }

    #[test]
    fn the_middle_is_cut_out() {
        let (shape, planes) = fit(
            image(),
            &Preprocess {
                crop: Some([1, 2]),
                ..Preprocess::keep()
            },
        )
        .unwrap();
        assert_eq!((shape, planes), ([3, 1, 2], vec![1, 2, 0, 0, 9, 9]));
        let error = fit(
            image(),
            &Preprocess {
                crop: Some([3, 2]),
                ..Preprocess::keep()
            },
        )
        .unwrap_err();
        assert!(
            error.contains("2 x 4 pixels (height x width) cannot be cropped to 3 x 2"),
            "{error}"
        );
    }

    #[test]
    fn the_shorter_side_sets_the_scale_and_one_colour_stays_so() {
        let grey = GrayImage::from_pixel(30, 20, Luma([77]));
        let (shape, planes) = fit(
            grey,
            &Preprocess {
                crop: None,
                ..Preprocess::imagenet(10, 0)
            },
        )
        .unwrap();
        assert_eq!(shape, [1, 10, 15]);
        assert!(planes.iter().all(|&value| value == 77));
    }

    #[test]
    fn sizes_beyond_the_limit_are_refused_before_resizing() {
        let error = resized([1, 16_000], Resize::ShorterSide(256)).unwrap_err();
        assert!(error.contains("would become 256 x 4096000"), "{error}");
        assert!(resized([10, 10], Resize::Exact { height: 0, width: 5 }).is_err());
        assert!(resized([1, 2], Resize::ShorterSide(0)).is_err());
    }
}
