/* The registry of cells: one line for each.  Included several times; cells/register.h says what for. */
#include "cells/rnn.h"
#include "cells/lstm.h"
#include "cells/gru.h"
#include "cells/gru_reset_before.h"
#include "cells/indrnn.h"
#include "cells/mingru.h"
#include "cells/leaky.h"
