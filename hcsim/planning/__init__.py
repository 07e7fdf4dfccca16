"""What several planners share: reservations and the choice of whom to preempt."""
