"""The networks of tersor-nets in PyTorch, for measurements beside it. torchvision has the others."""

import torch
import torchvision
from torch import nn
from torch.nn import functional


class LeNet5(nn.Module):
    """Caffe's sizes: 431,080 parameters."""

    shape = (1, 28, 28)

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 20, 5), nn.Conv2d(20, 50, 5)
        self.fc1, self.fc2 = nn.Linear(800, 500), nn.Linear(500, 10)

    def forward(self, x):
        """Images `[batch, 1, 28, 28]` to logits `[batch, 10]`."""
        x = functional.max_pool2d(self.conv1(x), 2)
        x = functional.max_pool2d(self.conv2(x), 2)
        return self.fc2(functional.relu(self.fc1(x.flatten(1))))


class Block(nn.Module):
    """Two convolutions beside a shortcut without parameters: every second pixel, channels filled up with zeros."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.stride, self.missing = (1, 0) if inputs == outputs else (2, outputs - inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, self.stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)

    def forward(self, x):
        y = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x)))))
        before = self.missing // 2
        shortcut = functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, before, self.missing - before))
        return functional.relu(y + shortcut)


class ResNet(nn.Module):
    """For CIFAR-10, depth 6 n + 2, shortcuts of option A (He et al., "Deep residual learning", 2016, section 4.2)."""

    shape = (3, 32, 32)

    def __init__(self, depth):
        super().__init__()
        n = (depth - 2) // 6
        self.conv1, self.bn1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
        self.layer1 = nn.Sequential(*(Block(16, 16) for _ in range(n)))
        self.layer2 = nn.Sequential(Block(16, 32), *(Block(32, 32) for _ in range(n - 1)))
        self.layer3 = nn.Sequential(Block(32, 64), *(Block(64, 64) for _ in range(n - 1)))
        self.linear = nn.Linear(64, 10)

    def forward(self, x):
        """Images `[batch, 3, 32, 32]` to logits `[batch, 10]`."""
        x = functional.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(x.mean((2, 3)))


def squeezenet1_1():
    """torchvision's, but the last convolution pads by one, as in the weights published with the paper."""
    model = torchvision.models.squeezenet1_1()
    model.classifier[1].padding = (1, 1)
    model.shape = (3, 227, 227)
    return model


def alexnet():
    model = torchvision.models.alexnet()
    model.shape = (3, 224, 224)
    return model


NETWORKS = {
    "lenet5": LeNet5,
    "resnet32": lambda: ResNet(32),
    "squeezenet1_1": squeezenet1_1,
    "alexnet": alexnet,
}
"""What makes each network, with random weights; its `shape` is that of an image."""


def network(name):
    """A network with the same random weights in every run."""
    torch.manual_seed(1)
    return NETWORKS[name]()
