from fastconv import arithmetic as arithmetic
from fastconv import functional as functional
from fastconv import linear_algebra as linear_algebra
from fastconv import ndimage as ndimage
from fastconv import patch as patch
from fastconv import rearrange as rearrange
from fastconv import restoration as restoration
from fastconv import signal as signal
from fastconv._threads import get_num_threads as get_num_threads
from fastconv._threads import num_threads as num_threads
from fastconv._threads import set_num_threads as set_num_threads
from fastconv.conv import Conv as Conv
from fastconv.deform import deform_conv2d as deform_conv2d
from fastconv.depthwise import depthwise_conv1d as depthwise_conv1d
from fastconv.depthwise import depthwise_conv2d as depthwise_conv2d
from fastconv.depthwise import depthwise_conv3d as depthwise_conv3d
from fastconv.depthwise import separable_conv2d as separable_conv2d
from fastconv.functional import conv1d as conv1d
from fastconv.functional import conv2d as conv2d
from fastconv.functional import conv3d as conv3d
from fastconv.functional import conv_transpose1d as conv_transpose1d
from fastconv.functional import conv_transpose2d as conv_transpose2d
from fastconv.functional import conv_transpose3d as conv_transpose3d
from fastconv.linear_algebra import Separation as Separation
from fastconv.linear_algebra import bilinear_kernel as bilinear_kernel
from fastconv.linear_algebra import conv_matrix as conv_matrix
from fastconv.linear_algebra import fold_batch_norm as fold_batch_norm
from fastconv.linear_algebra import separate as separate
from fastconv.passes import flattened_conv2d as flattened_conv2d
from fastconv.passes import spatially_separable_conv2d as spatially_separable_conv2d
from fastconv.plan import Candidate as Candidate
from fastconv.plan import Plan as Plan
from fastconv.pooling import avg_pool1d as avg_pool1d
from fastconv.pooling import avg_pool2d as avg_pool2d
from fastconv.pooling import avg_pool3d as avg_pool3d
from fastconv.pooling import global_avg_pool as global_avg_pool
from fastconv.pooling import max_pool1d as max_pool1d
from fastconv.pooling import max_pool2d as max_pool2d
from fastconv.pooling import max_pool3d as max_pool3d
from fastconv.rearrange import batch_to_space as batch_to_space
from fastconv.rearrange import channel_shuffle as channel_shuffle
from fastconv.rearrange import depth_to_space as depth_to_space
from fastconv.rearrange import fold as fold
from fastconv.rearrange import pixel_shuffle as pixel_shuffle
from fastconv.rearrange import pixel_unshuffle as pixel_unshuffle
from fastconv.rearrange import space_to_batch as space_to_batch
from fastconv.rearrange import space_to_depth as space_to_depth
from fastconv.rearrange import unfold as unfold
from fastconv.resize import resize_conv2d as resize_conv2d
from fastconv.runtime import algorithms as algorithms
from fastconv.runtime import explain as explain
from fastconv.runtime import kernels as kernels
from fastconv.runtime import peaks as peaks
from fastconv.runtime import show_config as show_config
from fastconv.runtime import show_runtime as show_runtime
from fastconv.sequence import causal_conv1d as causal_conv1d
from fastconv.sequence import lightweight_conv1d as lightweight_conv1d

__version__: str

__all__ = [
    "Candidate",
    "Conv",
    "Plan",
    "Separation",
    "__version__",
    "algorithms",
    "arithmetic",
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "batch_to_space",
    "bilinear_kernel",
    "causal_conv1d",
    "channel_shuffle",
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_matrix",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "deform_conv2d",
    "depth_to_space",
    "depthwise_conv1d",
    "depthwise_conv2d",
    "depthwise_conv3d",
    "explain",
    "flattened_conv2d",
    "fold",
    "fold_batch_norm",
    "get_num_threads",
    "global_avg_pool",
    "kernels",
    "lightweight_conv1d",
    "max_pool1d",
    "max_pool2d",
    "max_pool3d",
    "ndimage",
    "num_threads",
    "patch",
    "peaks",
    "pixel_shuffle",
    "pixel_unshuffle",
    "resize_conv2d",
    "restoration",
    "separable_conv2d",
    "separate",
    "set_num_threads",
    "show_config",
    "show_runtime",
    "signal",
    "space_to_batch",
    "space_to_depth",
    "spatially_separable_conv2d",
    "unfold",
]
