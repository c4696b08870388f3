//! SqueezeNet v1.1 (Iandola et al., 2016) in torchvision's names: 1,235,496 parameters.

use crate::graph::{Builder, Conv, Input, Network, Pool};

fn conv(inputs: usize, outputs: usize, kernel: usize, stride: usize, padding: usize) -> Conv {
    Conv {
        inputs,
        outputs,
        kernel,
        stride,
        padding,
        bias: true,
    }
}

/// Fire modules between three poolings, for images of 227 x 227.
///
/// The last convolution pads by one, as in the weights published with the paper; torchvision's own do not.
pub fn squeezenet1_1() -> Network {
    let pool = Pool {
        kernel: 3,
        stride: 2,
        ceil: true,
    };
    // Index in `features`, inputs, squeezed and expanded channels; pooling precedes the modules marked.
    let fires = [
        (3, 64, 16, 64, true),
        (4, 128, 16, 64, false),
        (6, 128, 32, 128, true),
        (7, 256, 32, 128, false),
        (9, 256, 48, 192, true),
        (10, 384, 48, 192, false),
        (11, 384, 64, 256, false),
        (12, 512, 64, 256, false),
    ];
    let mut b = Builder::new("squeezenet1_1", Input::Image([3, 227, 227]));
    let x = b.conv("features.0", 0, conv(3, 64, 3, 2, 0));
    let mut x = b.relu(x);
    for (index, inputs, squeezed, expanded, pooled) in fires {
        if pooled {
            x = b.max_pool(x, pool);
        }
        let name = |part: &str| format!("features.{index}.{part}");
        let s = b.conv(&name("squeeze"), x, conv(inputs, squeezed, 1, 1, 0));
        let s = b.relu(s);
        let one = b.conv(&name("expand1x1"), s, conv(squeezed, expanded, 1, 1, 0));
        let one = b.relu(one);
        let three = b.conv(&name("expand3x3"), s, conv(squeezed, expanded, 3, 1, 1));
        let three = b.relu(three);
        x = b.concat(one, three);
    }
    x = b.dropout(x, 500);
    x = b.conv("classifier.1", x, conv(512, 1000, 1, 1, 1));
    x = b.relu(x);
    x = b.average_pool(x, 1);
    b.flatten(x);
    b.finish()
}
