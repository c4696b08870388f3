//! Random changes of training images that keep their class.

use crate::random::Random;
use crate::warp::{Affine, AffineRange, Displacement};

/// How training images are changed. Values stay pixels 0..=255; what comes from outside an image is 0.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
#[non_exhaustive]
pub enum Augment {
    /// Not at all.
    #[default]
    None,
    /// A random affine map about the centre, bilinear.
    Affine(AffineRange),
    /// A random affine map and a smooth random displacement.
    Elastic {
        /// The affine part.
        affine: AffineRange,
        /// Standard deviation of the displacement in pixels, at each point of a grid of 7 x 7 over the image.
        sigma_px: f32,
    },
    /// A random shift of at most `pad` pixels in either direction, and a mirror image half of the time: the usual
    /// crop of a padded image of CIFAR-10.
    CropFlip {
        /// Pixels of zeros that are put on every side before cropping.
        pad: usize,
    },
}

/// What an image's random numbers follow from, besides its index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Key {
    /// Of the whole training.
    pub seed: u64,
    /// Counts passes over the training set, so that each sees other variants.
    pub epoch: u64,
}

/// Keeps what augmentation draws apart from the order of batches.
const STREAM: u64 = 0x6175_676d_656e_7421;

impl Key {
    /// The random numbers of image `index`.
    pub fn random(self, index: usize) -> Random {
        Random::keyed(&[STREAM, self.seed, self.epoch, index as u64])
    }
}

impl Augment {
    /// For digits: [`AffineRange::DIGITS`].
    pub fn affine() -> Self {
        Self::Affine(AffineRange::DIGITS)
    }

    /// For digits: [`AffineRange::DIGITS`] and displacements of one pixel. Of the changes here the one that helps
    /// most on MNIST.
    pub fn elastic() -> Self {
        Self::Elastic {
            affine: AffineRange::DIGITS,
            sigma_px: 1.0,
        }
    }

    /// For CIFAR-10: a crop of the image padded by 4, and flips.
    pub fn crop_flip() -> Self {
        Self::CropFlip { pad: 4 }
    }

    /// Writes a changed image to `out`: `shape` = \[channels, height, width\], channel by channel, as `image`.
    ///
    /// # Panics
    /// If `image` or `out` has another length than `shape` says.
    pub fn apply(&self, image: &[u8], shape: [usize; 3], random: &mut Random, out: &mut [f32]) {
        let size = shape.iter().product::<usize>();
        assert_eq!(
            (image.len(), out.len()),
            (size, size),
            "lengths of image and output"
        );
        match *self {
            Self::None => out
                .iter_mut()
                .zip(image)
                .for_each(|(out, &pixel)| *out = pixel.into()),
            Self::Affine(affine) => {
                let affine = Affine::random(&affine, random);
                warp(image, shape, out, |point, _| affine.map(point));
            }
            Self::Elastic { affine, sigma_px } => {
                let affine = Affine::random(&affine, random);
                let displacement = Displacement::random(sigma_px, random);
                warp(image, shape, out, |point, unit| {
                    let ([x, y], [dx, dy]) = (affine.map(point), displacement.at(unit));
                    [x + dx, y + dy]
                });
            }
            Self::CropFlip { pad } => {
                let [dx, dy] = [(); 2].map(|()| random.below(2 * pad + 1) as isize - pad as isize);
                shift(image, shape, [dx, dy], random.chance(0.5), out);
            }
        }
    }
}

/// Fills `out` with what `from` says lies where: it takes a point relative to the centre, in pixels, and the same
/// in the unit square, to the point of the image that is seen there.
fn warp(
    image: &[u8],
    [channels, height, width]: [usize; 3],
    out: &mut [f32],
    from: impl Fn([f32; 2], [f32; 2]) -> [f32; 2],
) {
    let last = [width, height].map(|side| side.saturating_sub(1) as f32);
    let plane_len = height * width;
    for (i, [x, y]) in (0..plane_len).map(|i| (i, [(i % width) as f32, (i / width) as f32])) {
        let [cx, cy] = last.map(|last| last / 2.0);
        let unit = [x / last[0].max(1.0), y / last[1].max(1.0)];
        let [x, y] = from([x - cx, y - cy], unit);
        let corners = corners([x + cx, y + cy], [width, height]);
        for channel in 0..channels {
            let plane = &image[channel * plane_len..(channel + 1) * plane_len];
            out[channel * plane_len + i] = corners
                .iter()
                .map(|&(index, weight)| weight * f32::from(plane[index]))
                .sum();
        }
    }
}

/// The four pixels around a point and their bilinear weights: 0 for those outside, which stand as index 0.
fn corners([x, y]: [f32; 2], [width, height]: [usize; 2]) -> [(usize, f32); 4] {
    // What is further out than one pixel, or no number, is as black as that. Conversion rounds down, as the function
    // `floor` does, which takes much longer without a machine instruction for it.
    let [(left, u), (top, v)] = [x, y].map(|position| {
        let position = position.max(-1.0);
        let floor = (position + 1.0) as i32 - 1;
        (floor, position - floor as f32)
    });
    let corner = |dx: i32, dy: i32, weight: f32| {
        let (Ok(x), Ok(y)) = (usize::try_from(left + dx), usize::try_from(top + dy)) else {
            return (0, 0.0);
        };
        if x < width && y < height {
            (y * width + x, weight)
        } else {
            (0, 0.0)
        }
    };
    [
        corner(0, 0, (1.0 - u) * (1.0 - v)),
        corner(1, 0, u * (1.0 - v)),
        corner(0, 1, (1.0 - u) * v),
        corner(1, 1, u * v),
    ]
}

/// The image seen through a window moved by `[dx, dy]`, mirrored left to right if `flip`.
fn shift(image: &[u8], [_, height, width]: [usize; 3], [dx, dy]: [isize; 2], flip: bool, out: &mut [f32]) {
    if height == 0 || width == 0 {
        return;
    }
    let planes = image
        .chunks_exact(height * width)
        .zip(out.chunks_exact_mut(height * width));
    for (plane, out) in planes {
        for (y, out) in out.chunks_exact_mut(width).enumerate() {
            let row = y.checked_add_signed(dy).filter(|&y| y < height);
            for (x, out) in out.iter_mut().enumerate() {
                let x = if flip { width - 1 - x } else { x };
                let column = x.checked_add_signed(dx).filter(|&x| x < width);
                *out = row.zip(column).map_or(0.0, |(y, x)| plane[y * width + x].into());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: [usize; 3] = [2, 5, 4];

    fn image() -> Vec<u8> {
        (0..40).map(|i| (i * 37 % 251) as u8 + 1).collect()
    }

    fn as_f32(image: &[u8]) -> Vec<f32> {
        image.iter().map(|&pixel| pixel.into()).collect()
    }

    fn applied(augment: Augment, seed: u64) -> Vec<f32> {
        let mut out = vec![f32::NAN; 40];
        augment.apply(&image(), SHAPE, &mut Random::new(seed), &mut out);
        out
    }

    #[test]
    fn parameters_of_zero_give_the_image() {
        for augment in [
            Augment::None,
            Augment::Affine(AffineRange::NONE),
            Augment::Elastic {
                affine: AffineRange::NONE,
                sigma_px: 0.0,
            },
        ] {
            assert_eq!(applied(augment, 1), as_f32(&image()), "{augment:?}");
        }
    }

    #[test]
    fn a_crop_without_padding_is_the_image_or_its_mirror_image_and_flipping_twice_gives_it_back() {
        let mut mirrored = image();
        mirrored.chunks_exact_mut(4).for_each(<[u8]>::reverse);
        let mut n_flipped = 0;
        for seed in 0..100 {
            let out = applied(Augment::CropFlip { pad: 0 }, seed);
            assert!(out == as_f32(&image()) || out == as_f32(&mirrored));
            n_flipped += usize::from(out == as_f32(&mirrored));
        }
        assert!((30..70).contains(&n_flipped), "{n_flipped} of 100");
        let mut twice = vec![0.0; 40];
        shift(&mirrored, SHAPE, [0, 0], true, &mut twice);
        assert_eq!(twice, as_f32(&image()));
    }

    #[test]
    fn crops_move_by_every_offset_within_the_padding_and_by_no_other() {
        // One pixel in the middle of 9 x 9 shows where the window went.
        let mut image = [0; 81];
        image[40] = 9;
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..500 {
            let mut out = [0.0; 81];
            Augment::CropFlip { pad: 2 }.apply(&image, [1, 9, 9], &mut Random::new(seed), &mut out);
            let at = out.iter().position(|&value| value == 9.0).unwrap();
            seen.insert((at % 9, at / 9));
        }
        let expected = (2..=6).flat_map(|x| (2..=6).map(move |y| (x, y))).collect();
        assert_eq!(seen, expected);
    }

    #[test]
    fn warped_pixels_stay_within_their_range_and_differ_between_draws() {
        for augment in [Augment::affine(), Augment::elastic(), Augment::crop_flip()] {
            let variants: Vec<_> = (0..50).map(|seed| applied(augment, seed)).collect();
            assert!(
                variants
                    .iter()
                    .flatten()
                    .all(|value| (0.0..=255.0).contains(value)),
                "{augment:?}"
            );
            assert!(
                variants.iter().any(|variant| *variant != variants[0]),
                "{augment:?}"
            );
        }
    }

    #[test]
    fn between_pixels_is_their_mean_and_outside_is_black() {
        let mut out = [0.0; 3];
        warp(&[10, 20, 40], [1, 1, 3], &mut out, |[x, y], _| [x + 0.5, y]);
        assert_eq!(out, [15.0, 30.0, 20.0]);
    }

    #[test]
    fn wild_parameters_and_empty_images_do_no_harm() {
        let wild = AffineRange {
            rotate_degrees: f32::NAN,
            scale_frac: f32::MAX,
            ..AffineRange::DIGITS
        };
        let out = applied(
            Augment::Elastic {
                affine: wild,
                sigma_px: f32::INFINITY,
            },
            1,
        );
        assert_eq!(out.len(), 40);
        for augment in [Augment::elastic(), Augment::crop_flip()] {
            augment.apply(&[], [3, 0, 4], &mut Random::new(1), &mut []);
        }
    }
}
