"""The hand that paints the embedded sample: a canvas, what stands in nature, and scenes put together from it."""
