"""Networks: spaces, the supernet and its training, search, export, and the command line.

The way of the data is device → table → search over archs → subnet → files → the device again. Nothing in this
package imports torch before a network is trained, extracted or exported.
"""

__version__ = "0.1.0"
