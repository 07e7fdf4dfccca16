"""What several planners share: reservations, whom to preempt, placement by score, fragmentation, locality."""
