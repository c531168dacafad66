"""The UNet, its model folders, and how it is run tile by tile."""
