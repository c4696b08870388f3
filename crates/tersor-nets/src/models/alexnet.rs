//! AlexNet in the sizes and names of torchvision (Krizhevsky, 2014): 61,100,840 parameters.

use crate::graph::{Builder, Conv, Input, Linear, Network, Pool};

/// Five convolutions and three linear layers for images of 224 x 224 in 1,000 classes.
pub fn alexnet() -> Network {
    narrow_alexnet(1000, 1)
}

/// The same for fewer classes with layers so many times narrower: a stand-in to try what is meant for the whole.
pub fn narrow_alexnet(classes: usize, divisor: usize) -> Network {
    let narrow = |width: usize| width.div_ceil(divisor.max(1));
    // Index in `features`, channels in and out, kernel, stride, padding, and whether pooling follows.
    let convs = [
        (0, 3, 64, 11, 4, 2, true),
        (3, 64, 192, 5, 1, 2, true),
        (6, 192, 384, 3, 1, 1, false),
        (8, 384, 256, 3, 1, 1, false),
        (10, 256, 256, 3, 1, 1, true),
    ];
    let mut b = Builder::new("alexnet", Input::Image([3, 224, 224]));
    let mut x = 0;
    for (index, inputs, outputs, kernel, stride, padding, pooled) in convs {
        let conv = Conv {
            inputs: if index == 0 { inputs } else { narrow(inputs) },
            outputs: narrow(outputs),
            kernel,
            stride,
            padding,
            bias: true,
        };
        x = b.conv(&format!("features.{index}"), x, conv);
        x = b.relu(x);
        if pooled {
            let pool = Pool {
                kernel: 3,
                stride: 2,
                ceil: false,
            };
            x = b.max_pool(x, pool);
        }
    }
    x = b.average_pool(x, 6);
    x = b.flatten(x);
    for (index, inputs, outputs, is_last) in [
        (1, 36 * narrow(256), narrow(4096), false),
        (4, narrow(4096), narrow(4096), false),
        (6, narrow(4096), classes, true),
    ] {
        if !is_last {
            x = b.dropout(x, 500);
        }
        let linear = Linear {
            inputs,
            outputs,
            bias: true,
        };
        x = b.linear(&format!("classifier.{index}"), x, linear);
        if !is_last {
            x = b.relu(x);
        }
    }
    b.finish()
}
