"""What scripts/compose_test is made of."""
