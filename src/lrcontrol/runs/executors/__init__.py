"""Where runs are carried out: one after the other here, or in processes of their own."""
