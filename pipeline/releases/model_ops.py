"""The operations of TensorFlow and of TensorFlow Lite that a released model may have.

None of them reads or writes a file, or calls a program.

Before adding one, read what its kernel does with its inputs and attributes: PrintV2 appends to a file that an attribute
names, ImmutableConst maps one into memory, DecodeProtoV2 reads one, and Copy sends tensors to an address.
https://github.com/tensorflow/tensorflow/blob/master/SECURITY.md
"""

STRUCTURE = """
Assert CheckNumerics CheckNumericsV2 Const ControlTrigger EnsureShape GuaranteeConst Identity IdentityN NoOp Placeholder
PlaceholderV2 PlaceholderWithDefault PreventGradient Snapshot StopGradient
"""
FUNCTIONS_AND_CONTROL_FLOW = """
Case Enter Exit For If LoopCond Merge NextIteration PartitionedCall StatefulPartitionedCall StatelessCase StatelessIf
StatelessWhile Switch While
"""
VARIABLES = """
AssignAddVariableOp AssignSubVariableOp AssignVariableOp DestroyResourceOp DisableCopyOnRead ReadVariableOp
ResourceGather ResourceGatherNd ResourceScatterAdd ResourceScatterUpdate VarHandleOp VarIsInitializedOp VariableShape
"""
TABLES = """
AnonymousHashTable AnonymousMutableHashTable HashTableV2 InitializeTableV2 LookupTableExportV2 LookupTableFindV2
LookupTableImportV2 LookupTableInsertV2 LookupTableRemoveV2 LookupTableSizeV2 MutableDenseHashTableV2
MutableHashTableV2
"""
ARRAYS = """
BatchToSpace BatchToSpaceND Bitcast BroadcastArgs BroadcastGradientArgs BroadcastTo Cast Concat ConcatOffset ConcatV2
DataFormatDimMap DataFormatVecPermute DepthToSpace Diag DiagPart DynamicPartition DynamicStitch Empty ExpandDims
ExtractImagePatches ExtractVolumePatches Fill Gather GatherNd GatherV2 InvertPermutation LinSpace ListDiff LowerBound
MatrixBandPart MatrixDiag MatrixDiagPart MatrixDiagPartV2 MatrixDiagPartV3 MatrixDiagV2 MatrixDiagV3 MatrixSetDiag
MatrixSetDiagV2 MatrixSetDiagV3 MirrorPad OneHot OnesLike Pack Pad PadV2 ParallelConcat ParallelDynamicStitch Range Rank
Reshape Reverse ReverseSequence ReverseV2 Roll ScatterNd ScatterNdNonAliasingAdd Select SelectV2 Shape
ShapeN Size Slice SpaceToBatch SpaceToBatchND SpaceToDepth Split SplitV Squeeze StridedSlice TensorScatterAdd
TensorScatterMax TensorScatterMin TensorScatterSub TensorScatterUpdate TensorStridedSliceUpdate Tile Transpose
ConjugateTranspose Unique UniqueV2 UniqueWithCounts UniqueWithCountsV2 Unpack UnravelIndex UpperBound Where ZerosLike
"""
LISTS = """
EmptyTensorList TensorArrayCloseV3 TensorArrayConcatV3 TensorArrayGatherV3 TensorArrayReadV3 TensorArrayScatterV3
TensorArraySizeV3 TensorArraySplitV3 TensorArrayV3 TensorArrayWriteV3 TensorListConcat TensorListConcatLists
TensorListConcatV2 TensorListElementShape TensorListFromTensor TensorListGather TensorListGetItem TensorListLength
TensorListPopBack TensorListPushBack TensorListPushBackBatch TensorListReserve TensorListResize TensorListScatter
TensorListScatterIntoExistingList TensorListScatterV2 TensorListSetItem TensorListSplit TensorListStack
"""
MATHEMATICS = """
Abs AccumulateNV2 Acos Acosh Add AddN AddV2 All Angle Any ApproximateEqual ArgMax ArgMin Asin Asinh Atan Atan2 Atanh
BatchMatMul BatchMatMulV2 BatchMatMulV3 BesselI0 BesselI0e BesselI1 BesselI1e Betainc Bincount BitwiseAnd BitwiseOr
BitwiseXor Bucketize Ceil Cholesky ClipByValue Complex ComplexAbs Conj Cos Cosh Cross Cumprod Cumsum
CumulativeLogsumexp DenseBincount Digamma Div DivNoNan Einsum Equal Erf Erfc Erfinv EuclideanNorm Exp Expm1 FFT FFT2D
FFT3D Floor FloorDiv FloorMod Greater GreaterEqual HistogramFixedWidth IFFT IFFT2D IFFT3D IRFFT IRFFT2D IRFFT3D Igamma
Igammac Imag Inv Invert IsFinite IsInf IsNan LeftShift Less LessEqual Lgamma Log Log1p LogMatrixDeterminant LogicalAnd
LogicalNot LogicalOr MatMul MatrixDeterminant MatrixInverse MatrixSolve MatrixTriangularSolve Max Maximum Mean Min
Minimum Mod Mul MulNoNan Ndtri Neg NextAfter NotEqual Polygamma PopulationCount Pow Prod Qr Real RealDiv Reciprocal RFFT
RFFT2D RFFT3D RightShift Rint Round Rsqrt SegmentMax SegmentMaxV2 SegmentMean SegmentMin SegmentMinV2 SegmentProd
SegmentProdV2 SegmentSum SegmentSumV2 SelfAdjointEigV2 Sign Sin Sinh Sqrt Square SquaredDifference Sub Sum Svd Tan Tanh
TruncateDiv TruncateMod UnsortedSegmentMax UnsortedSegmentMin UnsortedSegmentProd UnsortedSegmentSum Xdivy Xlog1py Xlogy
Zeta
"""
NETWORKS = """
ApproxTopK AvgPool AvgPool3D BiasAdd BiasAddV1 Conv Conv2D Conv2DBackpropInput Conv2DBackpropInputV2 Conv3D
Conv3DBackpropInputV2 DepthwiseConv2dNative Dequantize Dilation2D Elu FakeQuantWithMinMaxArgs FakeQuantWithMinMaxVars
FakeQuantWithMinMaxVarsPerChannel FractionalAvgPool FractionalMaxPool FusedBatchNorm FusedBatchNormV2 FusedBatchNormV3
FusedPadConv2D FusedResizeAndPadConv2D InTopK InTopKV2 L2Loss LRN LeakyRelu LogSoftmax MaxPool MaxPool3D MaxPoolV2
MaxPoolWithArgmax NthElement QuantizeAndDequantize QuantizeAndDequantizeV2 QuantizeAndDequantizeV3
QuantizeAndDequantizeV4 QuantizeV2 Relu Relu6 Selu Sigmoid Softmax SoftmaxCrossEntropyWithLogits Softplus Softsign
SparseSoftmaxCrossEntropyWithLogits TopK TopKV2
"""
IMAGES = """
AdjustContrast AdjustContrastv2 AdjustHue AdjustSaturation CombinedNonMaxSuppression CropAndResize DecodeAndCropJpeg
DecodeBmp DecodeGif DecodeImage DecodeJpeg DecodePng DrawBoundingBoxes DrawBoundingBoxesV2 EncodeJpeg
EncodeJpegVariableQuality EncodePng ExtractGlimpse ExtractGlimpseV2 ExtractJpegShape GenerateBoundingBoxProposals
HSVToRGB ImageProjectiveTransformV2 ImageProjectiveTransformV3 NonMaxSuppression NonMaxSuppressionV2
NonMaxSuppressionV3 NonMaxSuppressionV4 NonMaxSuppressionV5 NonMaxSuppressionWithOverlaps RGBToHSV ResizeArea
ResizeBicubic ResizeBilinear ResizeNearestNeighbor SampleDistortedBoundingBoxV2 ScaleAndTranslate
StatelessSampleDistortedBoundingBox
"""
TEXT_AND_BYTES = """
AsString DecodeBase64 DecodeCSV DecodeCompressed DecodePaddedRaw DecodeRaw EncodeBase64 Fingerprint ParseExample
ParseExampleV2 ParseSingleExample ReduceJoin RegexFullMatch RegexReplace StaticRegexFullMatch StaticRegexReplace
StringFormat StringJoin StringLength StringLower StringNGrams StringSplit StringSplitV2 StringStrip StringToHashBucket
StringToHashBucketFast StringToHashBucketStrong StringToNumber StringUpper Substr UnicodeDecode UnicodeDecodeWithOffsets
UnicodeEncode UnicodeScript UnicodeTranscode UnsortedSegmentJoin
"""
SPARSE_AND_RAGGED = """
RaggedGather RaggedRange RaggedTensorFromVariant RaggedTensorToSparse RaggedTensorToTensor RaggedTensorToVariant
SparseAdd SparseConcat SparseCross SparseCrossV2 SparseFillEmptyRows SparseReduceSum SparseReorder SparseReshape
SparseSegmentMean SparseSegmentSqrtN SparseSegmentSum SparseSlice SparseSoftmax SparseSplit SparseTensorDenseMatMul
SparseToDense
"""
DATASETS_IN_MEMORY = """
BatchDatasetV2 ConcatenateDataset DatasetToSingleElement FilterDataset FlatMapDataset IgnoreErrorsDataset MapDataset
OptionsDataset PrefetchDataset RangeDataset ReduceDataset SkipDataset TakeDataset TensorDataset TensorSliceDataset
ZipDataset
"""
CHANCE = """
Multinomial NonDeterministicInts RandomGamma RandomShuffle RandomStandardNormal RandomUniform RandomUniformInt
RngReadAndSkip RngSkip StatefulRandomBinomial StatefulStandardNormalV2 StatefulTruncatedNormal StatefulUniform
StatefulUniformFullInt StatefulUniformInt StatelessMultinomial StatelessRandomBinomial StatelessRandomGammaV2
StatelessRandomGammaV3 StatelessRandomGetAlg StatelessRandomGetKeyCounter StatelessRandomGetKeyCounterAlg
StatelessRandomNormal StatelessRandomNormalV2 StatelessRandomPoisson StatelessRandomUniform
StatelessRandomUniformFullInt StatelessRandomUniformFullIntV2 StatelessRandomUniformInt StatelessRandomUniformIntV2
StatelessRandomUniformV2 StatelessShuffle StatelessTruncatedNormal StatelessTruncatedNormalV2 TruncatedNormal
"""
ALLOWED = frozenset(
    " ".join(
        [
            STRUCTURE,
            FUNCTIONS_AND_CONTROL_FLOW,
            VARIABLES,
            TABLES,
            ARRAYS,
            LISTS,
            MATHEMATICS,
            NETWORKS,
            IMAGES,
            TEXT_AND_BYTES,
            SPARSE_AND_RAGGED,
            DATASETS_IN_MEMORY,
            CHANCE,
        ]
    ).split()
)

# Allowed in the functions alone that the SavedModel's saver names, and only called by it.
SAVING = frozenset("MergeV2Checkpoints SaveV2 ShardedFilename".split())
RESTORING = frozenset(["RestoreV2"])

# Allowed where the name of the file, input 1, comes from the SavedModel's own assets.
READS_ASSET = frozenset(["InitializeTableFromTextFileV2"])

# Operators of a device model. It has no control flow, variables, tables, chance or custom operators: a network for
# images needs none. https://ai.google.dev/edge/litert/models/ops_compatibility
TFLITE = frozenset("""
    ABS ADD ADD_N ARG_MAX ARG_MIN AVERAGE_POOL_2D BATCH_MATMUL BATCH_TO_SPACE_ND BROADCAST_TO CAST CEIL CONCATENATION
    CONV_2D COS CUMSUM DEPTHWISE_CONV_2D DEPTH_TO_SPACE DEQUANTIZE DIV ELU EQUAL EXP EXPAND_DIMS FLOOR FLOOR_DIV
    FLOOR_MOD FULLY_CONNECTED GATHER GATHER_ND GELU GREATER GREATER_EQUAL HARD_SWISH L2_NORMALIZATION L2_POOL_2D
    LEAKY_RELU LESS LESS_EQUAL LOCAL_RESPONSE_NORMALIZATION LOG LOGICAL_AND LOGICAL_NOT LOGICAL_OR LOGISTIC LOG_SOFTMAX
    MAXIMUM MAX_POOL_2D MEAN MINIMUM MIRROR_PAD MUL NEG NOT_EQUAL ONE_HOT PACK PAD PADV2 POW PRELU QUANTIZE REDUCE_ALL
    REDUCE_ANY REDUCE_MAX REDUCE_MIN REDUCE_PROD RELU RELU6 RELU_0_TO_1 RELU_N1_TO_1 RESHAPE RESIZE_BILINEAR
    RESIZE_NEAREST_NEIGHBOR REVERSE_V2 ROUND RSQRT SELECT SELECT_V2 SHAPE SIGN SIN SLICE SOFTMAX SPACE_TO_BATCH_ND
    SPACE_TO_DEPTH SPLIT SPLIT_V SQRT SQUARE SQUARED_DIFFERENCE SQUEEZE STRIDED_SLICE SUB SUM TANH TILE TOPK_V2
    TRANSPOSE TRANSPOSE_CONV UNPACK ZEROS_LIKE
    """.split())
