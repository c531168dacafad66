"""What the network is trained on."""
