"""How a training run is set up, recorded and resumed."""
