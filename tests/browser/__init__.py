"""A package, so that its browser ends with it: as long as Playwright runs, no other test can run a loop of its own."""
