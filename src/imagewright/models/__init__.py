"""Networks from timm and MONAI, between uint8 pictures and class probabilities.

Importing this package makes torchvision importable, on which timm, lightning and torchmetrics lean: a module that
uses one of them lies in a package whose `__init__` imports this one first.
"""

from imagewright.models import torchvision_import as torchvision_import
