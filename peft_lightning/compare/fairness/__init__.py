"""What differs between recipes beyond the method, and what that is known to do to a comparison."""
