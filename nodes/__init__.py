"""What one step does. Each module makes one node; ``rolecall.graphs.assistant`` wires them."""
