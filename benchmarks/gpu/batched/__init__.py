"""Several trainings of one shape, stepped together: a prototype (docs/design-batched-trainings.md)."""
