//! LeNet-5 in Caffe's sizes, which the paper uses: 431,080 parameters.

use crate::graph::{Builder, Conv, Input, Linear, Network, Pool};

/// Two convolutions with pooling and two linear layers for digits of 28 x 28 (Choi, El-Khamy, Lee, 2017, section 6).
pub fn lenet5() -> Network {
    let conv = |inputs, outputs| Conv {
        inputs,
        outputs,
        kernel: 5,
        stride: 1,
        padding: 0,
        bias: true,
    };
    let linear = |inputs, outputs| Linear {
        inputs,
        outputs,
        bias: true,
    };
    let pool = Pool {
        kernel: 2,
        stride: 2,
        ceil: false,
    };
    let mut b = Builder::new("lenet5", Input::Image([1, 28, 28]));
    let x = b.conv("conv1", 0, conv(1, 20));
    let x = b.max_pool(x, pool);
    let x = b.conv("conv2", x, conv(20, 50));
    let x = b.max_pool(x, pool);
    let x = b.flatten(x);
    let x = b.linear("fc1", x, linear(800, 500));
    let x = b.relu(x);
    b.linear("fc2", x, linear(500, 10));
    b.finish()
}
