"""What happens to events on the way: one verb a file. `qanat.component.Decorator` is the contract."""
