//! Where the well-known data sets come from.

use std::fmt;

/// A data set with an official address and published checksums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Official {
    /// MNIST: four IDX files, compressed with gzip.
    Mnist,
    /// CIFAR-10 in its binary version: one archive.
    Cifar10,
}

/// Names and SHA-256 of the four files; those of yann.lecun.com, which no longer serves them.
const MNIST: [(&str, &str); 4] = [
    (
        "train-images-idx3-ubyte",
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    ),
    (
        "train-labels-idx1-ubyte",
        "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    ),
    (
        "t10k-images-idx3-ubyte",
        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    ),
    (
        "t10k-labels-idx1-ubyte",
        "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    ),
];
const MNIST_ADDRESS: &str = "https://ossci-datasets.s3.amazonaws.com/mnist/";
const CIFAR10_ARCHIVE: &str = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz";
const CIFAR10_SHA256: &str = "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd";

impl Official {
    /// What to fetch so that these files are there, and how to check it.
    pub(crate) fn remedy(self, files: &[String]) -> String {
        match self {
            Self::Mnist => MNIST
                .iter()
                .filter(|(name, _)| files.iter().any(|file| file == name))
                .fold(
                    "get into that folder, as they are:".to_owned(),
                    |text, (name, sha256)| {
                        format!("{text}\n  {MNIST_ADDRESS}{name}.gz\n    SHA-256 {sha256}")
                    },
                ),
            Self::Cifar10 => {
                format!("get {CIFAR10_ARCHIVE}\n    SHA-256 {CIFAR10_SHA256}\nand unpack it there (tar xzf)")
            }
        }
    }
}

impl fmt::Display for Official {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mnist => "MNIST, or data set of its layout,",
            Self::Cifar10 => "CIFAR-10",
        })
    }
}
