/* The registry of cells: one line for each.  Included several times; cells/register.h says what for. */
#include "cells/rnn.h"
#include "cells/lstm.h"
#include "cells/gru.h"
