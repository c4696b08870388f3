//! Residual networks for CIFAR-10 (He et al., 2016, section 4.2), with shortcuts that have no parameters (option A).

use crate::graph::{Builder, Conv, Input, Linear, Network};

fn conv3(inputs: usize, outputs: usize, stride: usize) -> Conv {
    Conv {
        inputs,
        outputs,
        kernel: 3,
        stride,
        padding: 1,
        bias: false,
    }
}

/// A network of `depth` = 6 n + 2 layers: three stages of n blocks with 16, 32 and 64 channels.
pub fn resnet(depth: usize) -> Network {
    let n = depth.saturating_sub(2) / 6;
    let mut b = Builder::new(&format!("resnet{depth}"), Input::Image([3, 32, 32]));
    let x = b.conv("conv1", 0, conv3(3, 16, 1));
    let x = b.batch_norm("bn1", x, 16);
    let mut x = b.relu(x);
    let mut channels = 16;
    for (stage, width) in [16, 32, 64].into_iter().enumerate() {
        for block in 0..n {
            let name = format!("layer{}.{block}", stage + 1);
            let stride = if width == channels { 1 } else { 2 };
            let y = b.conv(&format!("{name}.conv1"), x, conv3(channels, width, stride));
            let y = b.batch_norm(&format!("{name}.bn1"), y, width);
            let y = b.relu(y);
            let y = b.conv(&format!("{name}.conv2"), y, conv3(width, width, 1));
            let y = b.batch_norm(&format!("{name}.bn2"), y, width);
            let shortcut = if stride == 1 { x } else { b.shortcut(x, width) };
            let sum = b.add(y, shortcut);
            x = b.relu(sum);
            channels = width;
        }
    }
    let x = b.average_pool(x, 1);
    let x = b.flatten(x);
    let linear = Linear {
        inputs: 64,
        outputs: 10,
        bias: true,
    };
    b.linear("linear", x, linear);
    b.finish()
}
