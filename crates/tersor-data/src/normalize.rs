//! From pixels to what a network expects.

/// How pixels 0..=255 become inputs: `value * scale + shift`, per channel.
///
/// `scale` and `shift` are in the order of the channels that come out. The last entry serves all further
/// channels, so that one entry serves them all; without any, scale is 1 and shift is 0.
#[derive(Clone, Debug, PartialEq)]
pub struct Normalize {
    /// Per unit of a pixel's value.
    pub scale: Vec<f32>,
    /// Added after scaling.
    pub shift: Vec<f32>,
    /// Whether channels come out in the opposite order: BGR from RGB.
    pub reverse_channels: bool,
}

impl Normalize {
    /// To 0..=1: `value / 255`, any number of channels.
    pub fn unit() -> Self {
        Self::mean_std(&[0.0], &[1.0])
    }

    /// `(value / 255 - mean) / std` per channel, as torchvision states it.
    pub fn mean_std(mean: &[f32], std: &[f32]) -> Self {
        Self {
            scale: std.iter().map(|std| 1.0 / (255.0 * std)).collect(),
            shift: mean.iter().zip(std).map(|(mean, std)| -mean / std).collect(),
            reverse_channels: false,
        }
    }

    /// As networks converted from Caffe take ImageNet: BGR, 0..=255, minus (104, 117, 123).
    pub fn caffe_bgr() -> Self {
        Self {
            scale: vec![1.0],
            shift: vec![-104.0, -117.0, -123.0],
            reverse_channels: true,
        }
    }

    /// Normalises one image in place: `channels` planes of values 0..=255.
    pub fn apply(&self, image: &mut [f32], channels: usize) {
        let plane_len = image.len().checked_div(channels).unwrap_or(0);
        if plane_len == 0 {
            return;
        }
        if self.reverse_channels {
            let (front, back) = image.split_at_mut(channels / 2 * plane_len);
            for (low, high) in front
                .chunks_exact_mut(plane_len)
                .zip(back.rchunks_exact_mut(plane_len))
            {
                low.swap_with_slice(high);
            }
        }
        for (channel, plane) in image.chunks_exact_mut(plane_len).enumerate() {
            let of =
                |values: &[f32], default| values.get(channel).or(values.last()).copied().unwrap_or(default);
            let (scale, shift) = (of(&self.scale, 1.0), of(&self.shift, 0.0));
            for value in plane {
                *value = *value * scale + shift;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normalized(normalize: &Normalize, image: &[f32], channels: usize) -> Vec<f32> {
        let mut image = image.to_vec();
        normalize.apply(&mut image, channels);
        image
    }

    #[test]
    fn unit_spans_zero_to_one_in_every_channel() {
        assert_eq!(
            normalized(&Normalize::unit(), &[0.0, 255.0, 510.0], 3),
            [0.0, 1.0, 2.0]
        );
    }

    #[test]
    fn mean_and_deviation_are_those_of_the_unit_range() {
        let normalize = Normalize::mean_std(&[0.5, 0.0], &[0.25, 1.0]);
        let image = normalized(&normalize, &[255.0, 127.5, 255.0, 0.0], 2);
        assert_eq!(image, [2.0, 0.0, 1.0, 0.0]); // (1 - .5) / .25, (.5 - .5) / .25
    }

    #[test]
    fn caffe_takes_blue_first() {
        let rgb = [200.0, 201.0, 150.0, 151.0, 110.0, 111.0]; // two pixels
        assert_eq!(
            normalized(&Normalize::caffe_bgr(), &rgb, 3),
            [6.0, 7.0, 33.0, 34.0, 77.0, 78.0]
        );
    }
}
